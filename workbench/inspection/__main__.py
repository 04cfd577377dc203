"""`python -m workbench.inspection`: requests as JSON lines on standard input, answers on standard output.

One request at a time, `{"do": …, "arguments": {…}}`; each is answered by any number of
`{"progress": {"what", "done", "total"}}` and then one `{"result": {…}}` or `{"error": {…}}`. The process
ends when its input does.
"""

from __future__ import annotations

import signal
import sys
import traceback

import orjson

from workbench.errors import WorkbenchError
from workbench.inspection.requests import answer
from workbench.inspection.wire import Wire


def main() -> int:
    """Answer until the input ends."""
    # Ctrl-C reaches the whole group of processes; the one that started this one speaks for both.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
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
                wire.error(_explain(error))
    except BrokenPipeError:
        return 1  # nobody listens any more
    return 0


def _explain(error: Exception) -> WorkbenchError:
    """An error of the libraries below as one a user can act on; the traceback is in the log."""
    if isinstance(error, MemoryError):
        return WorkbenchError("out of memory", hint="take fewer rows, or shorter ones")
    first = (str(error).strip().splitlines() or [""])[0]
    return WorkbenchError(f"unexpected {type(error).__name__}: {first[:300]}")


if __name__ == "__main__":
    sys.exit(main())
