"""Text made safe, numbers made short, lines wrapped."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from workbench.tui.text import (
    reveal_control,
    short_bytes,
    short_loss,
    short_number,
    strip_control,
)
from workbench.tui.widgets.text_lines import wrap
from workbench.units import duration


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain", "plain"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]52;c;aGk=\x07x\x1b]0;t\x1b\\y", "xy"),
        ("\x1bPq#0\x1b\\z\x1b(B", "z"),
        ("a\tb\r\x00\x7f\x9b31m", "a   b"),
        ("[b]é 漢字 🙂", "[b]é 漢字 🙂"),
        ("\u202eabc\u2066", "abc"),
        ("\udcff", ""),
        ("unfinished \x1b", "unfinished "),
        ("unfinished \x1b[3", "unfinished 3"),
    ],
)
def test_strip_control(text: str, safe: str) -> None:
    assert strip_control(text) == safe
    assert not any(char in reveal_control(text) for char in "\x1b\x07\x9b\r\n\x00\u202e\udcff")


def test_short_forms() -> None:
    assert [short_number(value) for value in (0, 940, 1234, 12_345_678, 2e12, 0.25)] == [
        "0", "940", "1.2k", "12.3M", "2.0T", "0.2",
    ]  # fmt: skip
    assert [short_loss(value) for value in (None, 2.31041, 123.45678, 1e-5, float("nan"))] == [
        "–", "2.3104", "123.456", "1.0e-05", "nan",
    ]  # fmt: skip
    assert [duration(value) for value in (None, 5, 65, 3700, 90_000)] == [
        "–", "5s", "1m 05s", "1h 01m", "1d 1h",
    ]  # fmt: skip
    assert [short_bytes(value) for value in (5, 2048, 5 << 30)] == ["5 B", "2.0 KiB", "5.0 GiB"]


@pytest.mark.parametrize("width", [1, 2, 7, 20])
@pytest.mark.parametrize("text", ["", "a b c d", "word " * 9, "x" * 50, "漢字" * 9, "e\u0301" * 20])
def test_wrap_keeps_text_and_roles(width: int, text: str) -> None:
    line = ((text[:5], "key"), (text[5:], ""))
    rows = wrap(line, width)
    assert "".join(part for row in rows for part, _ in row) == text
    assert "".join(part for row in rows for part, role in row if role == "key") == text[:5]
    assert all(cell_len("".join(part for part, _ in row)) <= max(width, 2) for row in rows)
