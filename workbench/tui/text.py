"""Text from files, made safe to show: no escape sequence, control or direction mark gets through."""

from __future__ import annotations

import re
import time

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]?"  # everything else that starts with ESC
    r"|\x9b[0-?]*[ -/]*[@-~]"
)


def strip_control(text: str) -> str:
    """Drop terminal sequences and control characters, keep line breaks; tabs become blanks."""
    if text.isascii() and text.isprintable():
        return text
    text = _SEQUENCES.sub("", text).expandtabs(4)
    return "".join(char for char in text if char == "\n" or _shows(char))


def reveal_control(text: str) -> str:
    """Show control characters as pictures (ESC as ␛) on one line, so that nothing is hidden."""
    if text.isprintable():
        return text
    return "".join(char if _shows(char) else _picture(char) for char in text)


def _shows(char: str) -> bool:
    # Joiners hold emoji and Indic letters together; other format marks can reorder a whole line.
    return char.isprintable() or char in "\u200c\u200d\u00a0\u3000"


def _picture(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else "�"


def short_number(value: float) -> str:
    """A count in at most five characters: 940, 1.2k, 31M."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            scaled = value / limit
            return f"{scaled:.1f}{unit}" if abs(scaled) < 99.95 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.1f}"


def short_loss(value: float | None) -> str:
    """A loss in seven characters: 2.3104, 1.2e-05, –."""
    if value is None:
        return "–"
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value and (abs(value) < 1e-3 or abs(value) >= 1e4):
        return f"{value:.1e}"
    return f"{value:.4f}"[:7].rstrip(".")


def short_bytes(count: float) -> str:
    """Bytes with a binary unit: 812 B, 3.2 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def clock(seconds: float | None) -> str:
    """A moment in local time, to the minute."""
    if not seconds:
        return "–"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def meter(share: float, width: int, symbols: str) -> str:
    """A static bar of `width` cells, `share` (0…1) of it filled."""
    filled, empty = ("#", ".") if symbols == "ascii" else ("█", "░")
    count = round(max(0.0, min(1.0, share)) * width)
    return filled * count + empty * (width - count)
