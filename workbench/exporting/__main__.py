"""`python -m workbench.exporting`: requests as JSON lines on standard input, answers on standard output.

How they are written is said in `workbench.store.wire`. The process ends when its input does, and when it is
asked to end it takes away what it has half-written.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from workbench.errors import WorkbenchError
from workbench.store.wire import Progress, first_line, serve

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Answer until the input ends."""
    for number in SIGNALS:
        signal.signal(number, _leave)
    return serve(_answer, _explain)


def _leave(number: int, frame: object) -> None:
    # Ctrl-C is heard by the whole group, and then who started this one asks, too: once is enough, and a
    # second time would break off the cleaning up.
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _answer(do: str, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    # torch takes seconds to import: the signals are dealt with before.
    from workbench.exporting.export import export

    assert do == "export"
    return export(progress=progress, **arguments)


def _explain(error: Exception) -> WorkbenchError:
    """An error of the libraries below as one a user can act on; the traceback is in the log."""
    if isinstance(error, MemoryError):
        return WorkbenchError(
            "out of memory", hint="a merge needs the whole model in fp32: 4 bytes a parameter"
        )
    return WorkbenchError(f"unexpected {type(error).__name__}: {first_line(error)}")


if __name__ == "__main__":
    sys.exit(main())
