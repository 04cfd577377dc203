"""The study that was edited last and is not planned yet, kept beside the studies: planning may fail, the name
may be left open, the program may end, and an hour of editing must not go with it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from workbench import paths
from workbench.store.files import replace_file
from workbench.store.scaling_studies import studies_dir

CHOICE = " draft"
"""What stands for it among presets; no preset has such a name."""


def _path() -> Path:
    return studies_dir() / "draft.yaml"


def read() -> str | None:
    """The draft; None where there is none."""
    try:
        return _path().read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def write(text: str) -> None:
    """Keep a draft. Raises `StorageError`."""
    paths.ensure_dir(studies_dir())
    replace_file(_path(), text.encode(), durable=True)


def remove() -> None:
    """It was planned."""
    with contextlib.suppress(OSError):
        _path().unlink()
