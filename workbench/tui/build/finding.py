"""A thing found about a design, and what would mend it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Repair:
    """Changes that mend something: what they are in words, and the values by dotted key."""

    words: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """One thing found: wrong ones keep a run from starting, the others do not."""

    level: Literal["wrong", "warn", "note"]
    keys: tuple[str, ...]
    message: str
    repairs: tuple[Repair, ...] = field(default=())
