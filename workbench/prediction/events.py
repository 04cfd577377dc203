"""What the process says to the one that started it: JSON lines on the standard output it was given."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

import orjson

from workbench.errors import WorkbenchError

PROGRESS_SECONDS = 0.2


class Events:
    """Writes events; whatever libraries print goes to standard error."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.last_progress = 0.0

    @classmethod
    def take_stdout(cls) -> Events:
        """Keep standard output for events alone."""
        sys.stdout.flush()
        own = os.dup(1)
        os.dup2(2, 1)
        return cls(os.fdopen(own, "wb", buffering=1 << 16))

    def send(self, event: str, **content: Any) -> None:
        """One event."""
        options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
        self.stream.write(orjson.dumps({"event": event, **content}, default=str, option=options))
        if event != "row":
            self.stream.flush()

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        """How far it is, a few times a second."""
        now = time.monotonic()
        if now - self.last_progress >= PROGRESS_SECONDS or done == total:
            self.last_progress = now
            self.send("progress", what=what, done=done, total=total)

    def error(self, error: WorkbenchError) -> None:
        """The last event of a process that failed."""
        self.send("error", **error.as_dict(), exit_code=error.exit_code)


Command = Callable[[dict[str, Any], Events], None]
