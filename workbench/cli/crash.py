"""What is left behind when the workbench itself is at fault."""

from __future__ import annotations

import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

from workbench import __version__, paths


def full_traceback(error: BaseException) -> str:
    """The traceback as Python prints it."""
    return "".join(traceback.format_exception(error)).rstrip()


def summary(error: BaseException, arguments: list[str]) -> str:
    """One line naming the error, and one saying where the traceback was saved."""
    from workbench.cli.render import literal

    line = f"this is a bug in the workbench: {type(error).__name__}: {literal(str(error))}"
    saved = save(error, arguments)
    if saved is None:
        return f"{line}\n  run the command again with --debug to see the traceback"
    return f"{line}\n  the traceback is in {saved}; --debug shows it here"


def save(error: BaseException, arguments: list[str]) -> Path | None:
    """Write the traceback into the home's cache, else into the system's temporary folder."""
    report = (
        f"workbench {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"arguments: {arguments!r}\n\n{full_traceback(error)}\n"
    )
    name = f"workbench-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    for folder in (paths.cache_dir("crashes"), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_text(report, encoding=sys.getdefaultencoding(), errors="backslashreplace")
            return path
        except OSError:
            continue
    return None
