"""Completing the path of a file of prompts, or of records."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.prompting.ranking.prompts import FILES

MOST = 200
"""Names that are looked at in a folder."""


def complete(text: str) -> tuple[str, list[str]]:
    """What a text can be completed to, and the names that it may mean: folders, and files of records.

    The text itself where nothing fits. A `~` stays as it was typed.
    """
    folder, _, begun = text.rpartition("/")
    place = Path(f"{folder}/" if "/" in text else ".").expanduser()
    try:
        with os.scandir(place) as entries:
            names = sorted(
                entry.name + "/" * entry.is_dir()
                for entry, _ in zip(entries, range(MOST * 50), strict=False)
                if entry.name.startswith(begun)
                and (begun.startswith(".") or not entry.name.startswith("."))
                and (entry.is_dir() or entry.name.endswith(FILES))
            )[:MOST]
    except OSError:
        return text, []
    if not names:
        return text, []
    common = os.path.commonprefix(names)
    return f"{folder}/{common}" if "/" in text else common, names
