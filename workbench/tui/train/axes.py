"""What the x axis of the charts can be."""

from __future__ import annotations

from typing import Literal, TypeAlias

XAxis: TypeAlias = Literal["step", "num_tokens", "time"]
XKind: TypeAlias = Literal["count", "duration"]

AXES: dict[XAxis, tuple[str, XKind]] = {
    "step": ("step", "count"),
    "num_tokens": ("tokens", "count"),
    "time": ("time", "duration"),
}
"""For each its label and the kind of number that stands on it."""
