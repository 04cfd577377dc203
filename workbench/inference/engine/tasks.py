"""Small pieces of work that others have the engine's thread do between two steps."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from workbench.errors import ServerError

Result = TypeVar("Result")


class Tasks:
    """Before `begin` and after `end` there is no such thread; whoever asks before does the work itself."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_served = False
        self._is_over = False

    def run(self, work: Callable[[], Result]) -> Result:
        """The result of a piece of work, or the error that it raised. Raises `ServerError` where the engine
        has been closed."""
        done: Future[Result] = Future()
        with self._lock:
            if self._is_over:
                raise ServerError("the engine was closed")
            is_served = self._is_served
            if is_served:
                self._queue.put((work, done))
        if not is_served:
            with torch.inference_mode():
                return work()
        self._wake()
        return done.result()

    def begin(self) -> None:
        """From now on there is a thread that calls `work`."""
        self._is_served = True

    def work(self) -> None:
        """Do what is waiting. An error is told to whoever asked."""
        while not self._queue.empty():
            work, done = self._queue.get()
            try:
                done.set_result(work())
            except Exception as error:
                done.set_exception(error)

    def end(self) -> None:
        """There will be no more work."""
        with self._lock:
            self._is_over = True
        while not self._queue.empty():
            self._queue.get()[1].set_exception(ServerError("the engine was closed"))
