"""`python -m workbench.prediction`: one request as JSON on standard input, events on standard output."""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback

import orjson

from workbench.errors import WorkbenchError
from workbench.prediction.events import Events


def main() -> int:
    """Answer the request. Returns the exit code; the events say why it is not 0."""
    # Ctrl-C reaches the whole group of processes; the one that started this one speaks for both.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    events = Events.take_stdout()
    request = orjson.loads(sys.stdin.buffer.read())
    try:
        # torch takes seconds to import: the request is read before.
        from workbench.prediction.commands import COMMANDS

        COMMANDS[request["command"]](request, events)
        events.stream.flush()
    except BrokenPipeError:
        return 1
    except WorkbenchError as error:
        with contextlib.suppress(BrokenPipeError):
            events.error(error)
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        known = explain(error)
        with contextlib.suppress(BrokenPipeError):
            events.error(known)
        return known.exit_code
    return 0


def explain(error: Exception) -> WorkbenchError:
    """An error of the libraries below as one a user can act on."""
    from workbench.training.worker import is_out_of_memory

    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return WorkbenchError("out of memory", where=text[:300], hint="take a smaller --batch-size")
    return WorkbenchError(
        f"unexpected {type(error).__name__}: {text[:300]}", hint="with --debug the traceback is shown"
    )


if __name__ == "__main__":
    sys.exit(main())
