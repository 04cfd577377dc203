"""Quantities as people read them, the same in the interface and in the commands."""

from __future__ import annotations

import math

NONE = "–"


def duration(seconds: float | None) -> str:
    """Time in its two largest units: 8s, 3m 05s, 2h 40m, 3d 4h."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"
