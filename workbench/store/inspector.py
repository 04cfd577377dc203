"""Asking about data and models from a process that has no torch: a child process answers.

What can be asked, and what comes back, stands in `workbench.inspection`, and for exports in
`workbench.exporting`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import orjson

from workbench import errors
from workbench.errors import WorkbenchError, storage_error

Progress = Callable[[str, int, int | None], None]

LOG_LINES = 400
LAST_WORDS = 5
CLOSING_SECONDS = 1.0


class RequestCancelled(WorkbenchError):
    """A request that was cancelled before it was answered."""

    title = "Cancelled"


class Inspector:
    """Sends requests to a child process, one at a time, from whatever thread.

    The process is started by the first request, and anew by the first after it was closed, cancelled or
    died. `cancel` and `close` may be called from another thread than the one that waits for an answer.
    """

    def __init__(self, module: str = "workbench.inspection", *, patience: float = 0.0) -> None:
        """`module` is what the child runs. One that must clean up behind itself is asked to end, and is ended
        after `patience` seconds."""
        self._module, self._patience = module, patience
        self._turn = threading.Lock()
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def log(self) -> str:
        """The last lines that the child printed."""
        child = self._child
        return "" if child is None else "\n".join(child.lines)

    def request(self, do: str, *, progress: Progress | None = None, **arguments: Any) -> dict[str, Any]:
        """The answer to a request; `progress(what, done, total)` hears how far it is, in this thread.

        Raises the `WorkbenchError` that the child raised, `RequestCancelled`, or a `WorkbenchError` with
        the child's last words when it died.
        """
        with self._turn:
            child = self._child
            if child is None or child.is_over:
                child = self._child = _Child(self._module, self._patience)
            try:
                child.send({"do": do, "arguments": arguments})
                while (message := child.receive()) is not None:
                    if "result" in message:
                        result: dict[str, Any] = message["result"]
                        return result
                    if "error" in message:
                        raise error_of(message["error"])
                    if progress is not None:
                        told = message["progress"]
                        progress(told["what"], told["done"], told["total"])
            except WorkbenchError:
                raise
            except BaseException:
                # The caller left in the middle of an answer: what is still to come is nobody's.
                child.kill()
                child.bury()
                raise
            raise child.obituary()

    def cancel(self) -> None:
        """End whatever is asked now: it raises `RequestCancelled`. Nothing when nothing is asked."""
        child = self._child
        if child is not None and self._turn.locked():
            child.kill()

    def close(self) -> None:
        """End the child. A later request starts another."""
        child = self._child
        if child is None:
            return
        if self._turn.locked():
            child.kill()
        else:
            child.close()
            self._child = None


class _Child:
    """One child process; a thread keeps the last lines of what it prints."""

    def __init__(self, module: str, patience: float) -> None:
        self.module, self.patience = module, patience
        command = [sys.executable, "-m", module]
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            raise storage_error(error, sys.executable) from None
        self.lines: deque[str] = deque(maxlen=LOG_LINES)
        self.killed = False
        self._listener = threading.Thread(target=self._listen, name="inspection log", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.decode(errors="replace").rstrip("\n"))

    @property
    def is_over(self) -> bool:
        """Whether it takes no more requests."""
        return self.killed or self.process.poll() is not None

    def send(self, request: Mapping[str, Any]) -> None:
        """Write a request; a child that is gone shows in `receive`."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE))
            self.process.stdin.flush()

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when no more will come."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = orjson.loads(line)
        return message

    def kill(self) -> None:
        """End it at once, or as soon as it has cleaned up."""
        self.killed = True
        if self.patience:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(self.patience)
        self.process.kill()

    def close(self) -> None:
        """End its input, and it if that is not enough."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.bury()

    def bury(self) -> int:
        """Wait for its end and for the last of what it printed."""
        code = self.process.wait()
        self._listener.join(CLOSING_SECONDS)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        return code

    def obituary(self) -> WorkbenchError:
        """Why no answer came."""
        try:
            self.process.wait(max(CLOSING_SECONDS, self.patience))
        except subprocess.TimeoutExpired:
            self.process.kill()
        code = self.bury()
        if self.killed:
            return RequestCancelled("the request was cancelled")
        how = f"signal {-code}" if code < 0 else f"code {code}"
        hint = "was there enough memory?" if code == -9 else "workbench doctor shows what this machine lacks"
        last = [line for line in self.lines if line.strip()][-LAST_WORDS:]
        return WorkbenchError(f"the process {self.module} ended with {how}", where="\n".join(last), hint=hint)


def error_of(content: Mapping[str, str]) -> WorkbenchError:
    """An error of the child, of the class it had there."""
    kind = getattr(errors, content["class"], WorkbenchError)
    if not (isinstance(kind, type) and issubclass(kind, WorkbenchError)):
        kind = WorkbenchError
    error = kind(content["message"], where=content["where"], hint=content["hint"])
    error.title = content["title"]
    return error
