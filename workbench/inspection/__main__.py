"""`python -m workbench.inspection`: requests as JSON lines on standard input, answers on standard output.

How they are written is said in `workbench.store.wire`. The process ends when its input does.
"""

from __future__ import annotations

import signal
import sys

from workbench.errors import WorkbenchError
from workbench.inspection.requests import answer
from workbench.store.wire import first_line, serve


def main() -> int:
    """Answer until the input ends."""
    # Ctrl-C reaches the whole group of processes; the one that started this one speaks for both.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return serve(answer, _explain)


def _explain(error: Exception) -> WorkbenchError:
    """An error of the libraries below as one a user can act on; the traceback is in the log."""
    if isinstance(error, MemoryError):
        return WorkbenchError("out of memory", hint="take fewer rows, or shorter ones")
    return WorkbenchError(f"unexpected {type(error).__name__}: {first_line(error)}")


if __name__ == "__main__":
    sys.exit(main())
