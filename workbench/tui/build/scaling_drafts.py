"""What was edited and is not planned yet: planning may fail, the name may be left open, the program may end,
and an hour of editing must not go with it.

One draft of a new study, beside the studies, and one in the folder of each study whose file was edited.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from workbench import paths
from workbench.store.files import replace_file
from workbench.store.scaling_studies import Study, studies_dir

CHOICE = " draft"
"""What stands for it among presets; no preset has such a name."""


def _path(of: str) -> Path:
    # No study has a name that begins so.
    return studies_dir() / of / ".draft.yaml"


def read(of: str = "") -> str | None:
    """The draft of a study, or of a new one; None where there is none, or the study was planned since."""
    path = _path(of)
    try:
        if of and path.stat().st_mtime_ns < Study(path.parent).spec_path.stat().st_mtime_ns:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def write(text: str, of: str = "") -> None:
    """Keep a draft. Raises `StorageError`."""
    path = _path(of)
    paths.ensure_dir(path.parent)
    replace_file(path, text.encode(), durable=True)


def remove(of: str = "") -> None:
    """It was planned."""
    with contextlib.suppress(OSError):
        _path(of).unlink()
