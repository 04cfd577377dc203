"""What the process says to the one that started it: JSON lines on the standard output it was given."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, BinaryIO

import orjson

from workbench.errors import WorkbenchError

PROGRESS_SECONDS = 0.2
OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class Wire:
    """Writes messages; whatever libraries print goes to standard error."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self._last_progress = 0.0

    @classmethod
    def take_stdout(cls) -> Wire:
        """Keep standard output for messages alone."""
        sys.stdout.flush()
        own = os.dup(1)
        os.dup2(2, 1)
        return cls(os.fdopen(own, "wb"))

    def send(self, kind: str, content: dict[str, Any]) -> None:
        """One message."""
        self.stream.write(orjson.dumps({kind: content}, default=str, option=OPTIONS))
        self.stream.flush()

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        """How far it is, a few times a second."""
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_SECONDS or done == total:
            self._last_progress = now
            self.send("progress", {"what": what, "done": done, "total": total})

    def error(self, error: WorkbenchError) -> None:
        """What went wrong, with the name of its class, so that it can be raised again over there."""
        self.send("error", {"class": type(error).__name__, **error.as_dict()})
