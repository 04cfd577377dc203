"""Having files read by another process, so that none of them can stall or end this one."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

import workbench
from workbench.errors import storage_error
from workbench.prompting.retrieval.chunking import Chunking
from workbench.prompting.retrieval.worker import LENGTH, pack

SECONDS_PER_FILE = 120.0


class Reader:
    """Reads files one at a time in a child process, which is started by the first and ends with the block.

    A file that takes longer than `seconds`, or that ends the child, counts as unreadable; the next one gets
    a new child.
    """

    def __init__(self, seconds: float = SECONDS_PER_FILE) -> None:
        self.seconds = seconds
        self._child: Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end_child()

    async def read(self, path: Path, chunking: Chunking, maximum_bytes: int) -> dict[str, Any]:
        """What `worker.read` says of a file."""
        request = {"path": str(path), "chunking": vars(chunking), "maximum_bytes": maximum_bytes}
        try:
            async with asyncio.timeout(self.seconds):
                return await self._ask(request)
        except TimeoutError:
            await self._end_child()
            return {"skipped": f"reading it took more than {self.seconds:g} seconds"}
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._end_child()
            return {"skipped": "the process that read it died of it"}

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._child is None:
            self._child = await _start()
        child = self._child
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(pack(request))
        await child.stdin.drain()
        (length,) = LENGTH.unpack(await child.stdout.readexactly(LENGTH.size))
        answer: dict[str, Any] = orjson.loads(await child.stdout.readexactly(length))
        return answer

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def _start() -> Process:
    # -P: a file called like a library, in the folder that the user happens to be in, is not imported.
    command = [sys.executable, "-P", "-m", "workbench.prompting.retrieval.worker"]
    root = str(Path(workbench.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
        )
    except OSError as error:
        raise storage_error(error, sys.executable) from None
