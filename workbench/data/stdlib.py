"""The sources of the running Python's standard library: English and code that every machine has."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from workbench.errors import DataError

LEFT_OUT = {
    "__pycache__",
    "dist-packages",
    "encodings",
    "ensurepip",
    "idle_test",
    "lib2to3",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
}
"""Folders of installed packages, tests (other encodings, generated data), bundled copies, and tables of
characters, which are a tenth of all text and neither English nor code."""


def stdlib_files() -> list[Path]:
    """Every `.py` file of the standard library, sorted by its path inside it."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        found += (Path(folder, name) for name in names if name.endswith(".py"))
    if not found:
        raise DataError(
            "this Python carries no sources of its standard library",
            where=str(root),
            hint="name a file or folder of text as data.sources",
        )
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())
