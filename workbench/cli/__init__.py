"""Commands; each imports what it needs when it runs.

`main` is the edge of the program: every error that a user can cause is shown here once, and turned
into an exit code: 0 done, 1 failed, 2 misused, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from workbench.errors import WorkbenchError

INTERRUPTED = 130
BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` is what follows the program's name. Returns the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    _tolerate_any_text()
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as exit_:  # argparse after --help and --version
        return exit_.code if isinstance(exit_.code, int) else 0
    except WorkbenchError as error:
        from workbench.cli.render import literal

        _talk(literal(error.render(), keep_lines=True))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _abandon_stdout()
        return BROKEN_PIPE
    except Exception as error:
        return _unexpected(error, arguments)


def _run(arguments: list[str]) -> int:
    from workbench.cli.parser import parse

    args = parse(arguments)
    if args.home is not None:
        from pathlib import Path

        from workbench.paths import HOME_VARIABLE

        os.environ[HOME_VARIABLE] = str(Path(args.home).expanduser().absolute())
    code: int = args.handler(args)
    return code


def _tolerate_any_text() -> None:
    """Let a terminal without UTF-8 show escapes where it lacks a character, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and getattr(stream, "errors", "") == "strict":
            reconfigure(errors="backslashreplace")


def _talk(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody listens any more
        print(text, file=sys.stderr, flush=True)


def _abandon_stdout() -> None:
    """Point standard output at nothing, so that Python's own flush at exit does not complain again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unexpected(error: Exception, arguments: list[str]) -> int:
    """One line for what is our own mistake; the full story goes to a file, or here with --debug."""
    import errno

    from workbench.cli import crash

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        from workbench.errors import storage_error

        _abandon_stdout()
        _talk(storage_error(error, error.filename or "standard output").render())
        return 1
    if "--debug" in arguments:
        _talk(crash.full_traceback(error))
        return 1
    _talk(crash.summary(error, arguments))
    return 1
