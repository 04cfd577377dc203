"""Text for people: numbers, tables, harmless text, curves, and what a terminal can show."""

from __future__ import annotations

import io
import json
import math

import pytest

from workbench import terminal, units
from workbench.cli import render
from workbench.cli.curve import chart


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ☃ 日本", "plain ☃ 日本"),
        ("\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x9b31m\u202eevil\u2028", r"\x9b31m\u202eevil\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_foreign_text_is_harmless(text: str, shown: str) -> None:
    assert render.literal(text) == shown


def test_lines_can_be_kept() -> None:
    assert render.literal("a\nb\t\x1b[0m\r\n", keep_lines=True) == "a\nb\t\\x1b[0m\\r\n"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (render.number(3.14159), "3.142"),
        (render.number(0.0001234), "0.0001234"),
        (render.number(12_345.6), "12,346"),
        (render.number(4.0), "4.000"),
        (render.number(1234.0), "1234"),
        (render.number(1234), "1,234"),
        (render.number(math.nan), "nan"),
        (render.number(None), "–"),
        (render.count(950), "950"),
        (render.count(12_345), "12.3k"),
        (render.count(1_250_000), "1.25M"),
        (render.count(7e9), "7B"),
        (render.size(512), "512 B"),
        (render.size(1.44e6), "1.44 MB"),
        (units.duration(8), "8s"),
        (units.duration(185), "3m 05s"),
        (units.duration(9600), "2h 40m"),
        (units.duration(4 * 3600 + 3 * 86400), "3d 4h"),
        (units.duration(math.inf), "–"),
        (render.clip("日本語のテキスト", 7), "日本語…"),
    ],
)
def test_values_in_short(shown: str, expected: str) -> None:
    assert shown == expected


def test_tables_align_by_cells() -> None:
    drawn = render.table(["name", "n"], [["日本", "1"], ["abcde", "10"]], right=[1])
    assert drawn.splitlines() == ["name    n", "日本    1", "abcde  10"]


def test_json_has_no_values_that_readers_refuse() -> None:
    text = render.as_json({"a": [math.nan, 1.5, (math.inf,)]})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, 1.5, [None]]}


def test_styles_only_on_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    assert render.style("x", "bold", stream) == "x"
    monkeypatch.setattr(stream, "isatty", lambda: True)
    assert render.style("x", "bold", stream) == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert render.style("x", "bold", stream) == "x"


def test_a_curve_falls_from_corner_to_corner() -> None:
    points = [(float(step), 5.0 - step / 25) for step in range(1, 101)]
    lines = chart(points, width=20, height=5, braille=False).splitlines()
    assert lines[0] == "4.880 |***"
    assert lines[-2].startswith("1.080 |") and lines[-2].endswith("  ***")
    assert lines[-1].split() == ["1", "100"]
    assert len(lines[-1]) == len(lines[-2])


def test_a_curve_in_braille_has_no_holes() -> None:
    points = [(0.0, 10.0), (1.0, 0.0), (2.0, 0.0)]
    lines = chart(points, width=4, height=3).splitlines()
    assert all(any("\u2800" < mark <= "\u28ff" for mark in line) for line in lines[:3])
    assert lines[2].endswith("⣆⣀")


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(1.0, math.nan), (2.0, 3.0)]])
def test_no_curve_from_too_little(points: list[tuple[float, float]]) -> None:
    assert chart(points) == ""


def test_a_flat_curve_is_drawn() -> None:
    assert "***" in chart([(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)], width=3, braille=False)


@pytest.mark.parametrize(
    ("environment", "utf8", "symbols", "colors"),
    [
        ({"LANG": "en_US.UTF-8", "TERM": "xterm-256color"}, True, "braille", "256"),
        ({"LANG": "de_DE.utf8", "TERM": "xterm", "COLORTERM": "truecolor"}, True, "braille", "truecolor"),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8", "TERM": "screen"}, False, "ascii", "16"),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8", "TMUX": "x", "TERM": "tmux-256color"}, False, "ascii", "256"),
        ({"LC_CTYPE": "C.UTF-8", "TMUX": "x", "TERM": "tmux-256color"}, None, "ascii", "256"),
        ({"LC_CTYPE": "C.UTF-8", "TERM": "xterm"}, None, "braille", "16"),
        ({"LANG": "C.UTF-8", "TERM": "linux"}, True, "ascii", "16"),
        ({"TERM": "dumb"}, None, "braille", "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, None, "braille", "none"),
    ],
)
def test_what_a_terminal_can_show(
    environment: dict[str, str], utf8: bool | None, symbols: str, colors: str
) -> None:
    assert terminal.speaks_utf8(environment) is utf8
    assert terminal.symbols(environment) == symbols
    assert terminal.colors(environment) == colors
