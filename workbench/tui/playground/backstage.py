"""The thread of the conversations: one event loop, in which all that talks to models runs.

The interface never waits for it. What it has to tell goes into queues, which the interface looks into when
it has time; a stream of thousands of tokens a second costs the interface ten looks a second.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from workbench.tui.playground.catalog import Catalog

R = TypeVar("R")
CLOSING_SECONDS = 2.0


class Backstage:
    """Runs coroutines on a thread of its own, started by the first of them."""

    def __init__(self, make_catalog: Callable[[], Catalog] = Catalog) -> None:
        self.catalog = make_catalog()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Coroutine[Any, Any, R]) -> Future[R]:
        """Run a coroutine there; cancelling the future cancels its task."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._serve, name="conversations", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function there, soon; nothing when the thread has ended."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        """Cancel everything, so that servers end their work, and drop the connections."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        # Said at once, since tasks are about to be cancelled for no fault of what they wait for.
        self.catalog.closing = True
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CLOSING_SECONDS)

    def _serve(self) -> None:
        loop = self._loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(self.catalog.close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
