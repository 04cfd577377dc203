"""Steps that are asked for by keys and done one after the other, however far the keys are ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

LEAVING_SECONDS = 2.0
SLOW_SECONDS = 0.5
"""After so long a step says that it waits."""

Step = tuple[str, tuple[str, ...]]


class Steps:
    """A queue of steps, and the task that does them; `slow` is called while one takes its time."""

    def __init__(
        self, do: Callable[[str, tuple[str, ...]], Awaitable[None]], slow: Callable[[], object]
    ) -> None:
        self._do, self._slow = do, slow
        self._queue: asyncio.Queue[Step | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._busy = False

    @property
    def idle(self) -> bool:
        """Whether nothing is being done, nor to be done."""
        return not self._busy and self._queue.empty()

    def put(self, step: str, *arguments: str) -> None:
        """Have a step done behind all others."""
        self._queue.put_nowait((step, arguments))

    def drop(self) -> None:
        """Forget those that wait."""
        ends = False
        while not self._queue.empty():
            ends = self._queue.get_nowait() is None or ends
        if ends:
            self._queue.put_nowait(None)

    async def serve(self) -> None:
        """Do them until `finish`, and raise what goes wrong in one. Cancelling this leaves them going."""
        self._task = asyncio.create_task(self._serve())
        await asyncio.shield(self._task)

    async def finish(self) -> None:
        """Do those that wait, and end, unless the disk keeps one waiting."""
        self._queue.put_nowait(None)
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=LEAVING_SECONDS)

    async def _serve(self) -> None:
        while (entry := await self._queue.get()) is not None:
            self._busy = True
            slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._slow)
            try:
                await self._do(*entry)
            finally:
                slow.cancel()
                self._busy = False
