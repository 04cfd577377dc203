"""A part of a tab that is shown by a key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pane:
    """One pane: its key, its name, and what it shows."""

    id: str
    key: str
    label: str
    help: str
