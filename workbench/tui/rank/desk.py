"""The thread in which rankings are read and written, one thing after the other, in the order asked for.

A transaction waits for the disk, and up to half a minute for another process: the interface does neither.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from workbench.errors import StorageError
from workbench.store.preferences.database import Database

R = TypeVar("R")
Work = tuple[Callable[[Database], Any], Future[Any]]


class Desk:
    """Does work with the database of preferences, which is opened by the first that needs it.

    After a `StorageError` it is opened anew: what was wrong with the file may have been mended.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._database: Database | None = None

    def submit(self, work: Callable[[Database], R]) -> Future[R]:
        """Have work done; its future has the result, or the error."""
        future: Future[R] = Future()
        self._queue.put((work, future))
        if self._thread is None:
            # A daemon: whoever leaves while another process holds the file need not wait for it.
            self._thread = threading.Thread(target=self._serve, name="rankings", daemon=True)
            self._thread.start()
        return future

    async def do(self, work: Callable[[Database], R]) -> R:
        """Have work done, and wait for it without holding anything up."""
        return await asyncio.wrap_future(self.submit(work))

    def close(self) -> None:
        """End the thread once all that was asked for is done."""
        if self._thread is not None:
            self._queue.put(None)

    def _serve(self) -> None:
        while (entry := self._queue.get()) is not None:
            work, future = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._do(work))
            except BaseException as error:
                future.set_exception(error)
        self._let_go()

    def _do(self, work: Callable[[Database], R]) -> R:
        if self._database is None:
            self._database = Database()
        try:
            return work(self._database)
        except StorageError:
            self._let_go()
            raise

    def _let_go(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()
