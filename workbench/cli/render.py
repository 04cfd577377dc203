"""Text for people: numbers, durations, tables, and foreign text made harmless. Nothing heavy."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, TextIO

from workbench.units import NONE

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
STATE_STYLES = {"failed": "red", "lost": "red", "unknown": "red", "finished": "green", "stopped": "yellow"}

# C0 and C1 controls move the cursor, change the title or write to the clipboard; the bidirectional
# controls reorder what stands around them. Neither has business in text that a model or file wrote.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NAMES = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


def literal(text: str, *, keep_lines: bool = False) -> str:
    """Text from a file or model with its control characters shown as escapes, as in `\\x1b[31m`.

    `keep_lines` leaves line ends and tabs as they are.
    """

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        if keep_lines and character in "\n\t":
            return character
        code = ord(character)
        return _NAMES.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")

    return _CONTROLS.sub(escape, text)


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal that understands carriage returns and escapes."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def style(text: str, name: str, stream: TextIO | None = None) -> str:
    """Text in a style, where the stream (standard output) is a terminal and NO_COLOR is not set."""
    if not name or os.environ.get("NO_COLOR") or not is_terminal(stream or sys.stdout):
        return text
    return f"\x1b[{STYLES[name]}m{text}\x1b[0m"


def has_unicode(stream: TextIO | None = None) -> bool:
    """Whether the stream (standard output) carries UTF-8, as braille needs."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or ""
    return encoding.lower().replace("-", "").replace("_", "") == "utf8"


def columns() -> int:
    """Width of the terminal; 80 where there is none."""
    return shutil.get_terminal_size().columns


def number(value: float | None, digits: int = 4) -> str:
    """A measured value with so many significant digits: 3.142, 3.000, 1.200e-05."""
    if value is None:
        return NONE
    if not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".removesuffix(".")


def count(value: float | None) -> str:
    """A large count in short: 950, 12.3k, 1.25M, 7B."""
    if value is None:
        return NONE
    if not math.isfinite(value):
        return str(value)
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            size = 1e3 if unit == "k" else limit
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def size(value: float) -> str:
    """Bytes in short: 512 B, 1.4 MB."""
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.0f} B"


def cells(text: str) -> int:
    """Columns a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def clip(text: str, width: int) -> str:
    """Text cut to a number of columns, with an ellipsis where something is missing."""
    if cells(text) <= width:
        return text
    kept = ""
    for character in text:
        if cells(kept + character) > width - 1:
            break
        kept += character
    return kept + "…" if width > 0 else ""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns under bold headers; the columns numbered in `right` are flushed right.

    Cells are taken as they are: pass foreign text through `literal` first.
    """
    widths = [max(map(cells, column)) for column in zip(headers, *rows, strict=True)]
    lines = []
    for index, row in enumerate([headers, *rows]):
        parts = []
        for position, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cells(cell))
            painted = style(cell, "bold" if index == 0 else STATE_STYLES.get(cell, ""))
            parts.append(space + painted if position in right else painted + space)
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def pairs(items: Sequence[tuple[str, str]], indent: str = "") -> str:
    """Names and values, the values aligned."""
    width = max((cells(name) for name, _ in items), default=0)
    return "\n".join(
        f"{indent}{style(name, 'dim')}{' ' * (width - cells(name))}  {value}".rstrip()
        for name, value in items
    )


def as_json(value: Any) -> str:
    """JSON that every reader takes: what is not finite becomes null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def talk(text: str) -> None:
    """A word to the person at the keyboard, on standard error."""
    print(text, file=sys.stderr, flush=True)
