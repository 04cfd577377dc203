"""Records made small enough to show: long values are cut, and what they were is told."""

from __future__ import annotations

import math
from typing import Any

LONGEST_TEXT = 2_000
LONGEST_LIST = 200
DEEPEST = 12


def shown(value: Any) -> tuple[Any, dict[str, int]]:
    """A value as JSON holds it, and the full length of each part that was cut, by its path: `text`,
    `messages.0.content`; of texts in characters, of lists in items."""
    cut: dict[str, int] = {}
    return _shown(value, "", cut, 0), cut


def _shown(value: Any, path: str, cut: dict[str, int], depth: int) -> Any:
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            cut[path] = len(value)
            value = value[:LONGEST_TEXT]
        # JSON can spell halves of surrogate pairs, which UTF-8 cannot hold.
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, (dict, list, tuple)) and depth == DEEPEST:
        cut[path] = len(value)
        return "…"
    if isinstance(value, dict):
        items = list(value.items())
        if len(items) > LONGEST_LIST:
            cut[path] = len(items)
        return {
            _shown(str(key), path, {}, depth): _shown(item, _below(path, key), cut, depth + 1)
            for key, item in items[:LONGEST_LIST]
        }
    if isinstance(value, (list, tuple)):
        if len(value) > LONGEST_LIST:
            cut[path] = len(value)
        return [
            _shown(item, _below(path, number), cut, depth + 1)
            for number, item in enumerate(value[:LONGEST_LIST])
        ]
    return _plain(value)


def _below(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 1 << 53 else str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value):,} bytes"
    return str(value)[:LONGEST_TEXT]
