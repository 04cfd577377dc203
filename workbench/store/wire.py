"""What a worker that answers requests says to the process that started it (see `store.inspector`).

One request at a time comes as a JSON line on standard input, `{"do": …, "arguments": {…}}`; each is answered
on standard output by any number of `{"progress": {"what", "done", "total"}}` and then one `{"result": {…}}`
or `{"error": {…}}`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
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


Progress = Callable[[str, int, int | None], None]
Answer = Callable[[str, dict[str, Any], Progress], dict[str, Any]]


def serve(answer: Answer, explain: Callable[[Exception], WorkbenchError]) -> int:
    """Answer requests until the input ends; `explain` words an error that nobody foresaw.

    Returns the exit code: 1 where nobody listens any more.
    """
    wire = Wire.take_stdout()
    try:
        for line in sys.stdin.buffer:
            request = orjson.loads(line)
            try:
                wire.send("result", answer(request["do"], request["arguments"], wire.progress))
            except BrokenPipeError:
                raise
            except WorkbenchError as error:
                wire.error(error)
            except Exception as error:
                traceback.print_exc()
                wire.error(explain(error))
    except BrokenPipeError:
        return 1
    return 0


def first_line(error: Exception) -> str:
    """What an error of a library says first, cut where it goes on and on."""
    return (str(error).strip().splitlines() or [""])[0][:300]
