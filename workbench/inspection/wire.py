"""What the process says to the one that started it: JSON lines on the standard output it was given."""

from __future__ import annotations

import os
import sys
from typing import Any, BinaryIO

import orjson

from workbench.errors import WorkbenchError

OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class Wire:
    """Writes messages; whatever libraries print goes to standard error."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

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
        """How far it is; whoever tells does so a few times a second."""
        self.send("progress", {"what": what, "done": done, "total": total})

    def error(self, error: WorkbenchError) -> None:
        """What went wrong, with the name of its class, so that it can be raised again over there."""
        self.send("error", {"class": type(error).__name__, **error.as_dict()})
