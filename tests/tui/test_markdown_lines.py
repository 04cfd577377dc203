"""Markdown as lines: what is laid out how, and that nothing in it can act."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from workbench.tui.playground.markdown_lines import markdown_lines
from workbench.tui.widgets.text_lines import Line


def shown(text: str, width: int = 40) -> list[str]:
    return ["".join(part for part, _ in line) for line in markdown_lines(text, width)]


def roles(text: str) -> dict[str, str]:
    return {part: role for line in markdown_lines(text, 60) for part, role in line}


def test_headings_emphases_and_code_have_roles_and_no_signs() -> None:
    found = roles("# Top\n\n### Low\n\nplain **strong *both*** ~~gone~~ `code`")
    assert found["Top"] == "title" and found["Low"] == "strong"
    assert found["strong "] == "strong" and set(found["both"].split()) == {"strong", "emphasis"}
    assert found["gone"] == "strike" and found["code"] == "code" and found["plain "] == ""


def test_line_breaks_stay_and_blocks_stand_apart() -> None:
    assert shown("one\ntwo\n\nthree") == ["one", "two", "", "three"]


def test_lists_hang_below_their_signs() -> None:
    assert shown("- one two three four\n- five\n  - six", 16) == [
        "• one two three ",
        "  four",
        "• five",
        "  • six",
    ]
    assert shown("9. nine\n10. ten") == [" 9. nine", "10. ten"]
    assert shown("1. a\n\n2. b") == ["1. a", "", "2. b"]


def test_code_and_quotes_have_a_bar() -> None:
    assert shown("```python\ndef f():\n\treturn 1\n```\n> said\n> so") == [
        "│ def f():",
        "│     return 1",
        "",
        "▌ said",
        "▌ so",
    ]


def test_tables_have_columns_as_narrow_as_there_is_room() -> None:
    table = "| name | size |\n|---|--:|\n| a | 1 |\n| long name | 1,000 |"
    assert shown(table) == ["name        size", "─────────  ─────", "a              1", "long name  1,000"]
    narrow = shown("| name | about |\n|---|---|\n| x | some words that are too long |", 20)
    assert all(len(line) <= 20 for line in narrow)
    assert " ".join(line[6:].strip() for line in narrow[2:]) == "some words that are too long"
    # Where there is no room for columns, cells stand below each other.
    assert shown("|a|b|c|d|\n|-|-|-|-|\n|one cell|two|three cells|4|", 12)[-4:] == [
        "one cell",
        "two",
        "three cells",
        "4",
    ]


def test_links_are_shown_and_never_followed() -> None:
    assert shown("[here](http://x.org/a) <http://y.org> ![me](z.png)", 80) == [
        "here (http://x.org/a) http://y.org [me] (z.png)"
    ]
    assert shown("[x](javascript:alert)") == ["[x](javascript:alert)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[31mb\x9b2J\u202ec", "a␛[31mb�2J�c"),
        ("`\x1b]0;x\x07`", "␛]0;x␇"),
        ("&#8238; &#155; &lt;", "� � <"),
        ("[bold]x[/bold] :smile:", "[bold]x[/bold] :smile:"),
        ("<think>no</think>", "<think>no</think>"),
        ("<script>\nx\n</script>", "<script>\nx\n</script>"),
        ("[\x1b[1m](http://\x1b.org)", "[␛[1m](http://␛.org)"),
        ("[x](http://y.org/\u202e)", "x (http://y.org/%E2%80%AE)"),
        ("```\n\x1b[2J\n```", "│ ␛[2J"),
    ],
)
def test_nothing_in_it_acts(text: str, expected: str) -> None:
    assert "\n".join(shown(text, 80)) == expected


@pytest.mark.parametrize("width", [8, 21, 76])
@pytest.mark.parametrize(
    "text",
    [
        "> " * 300 + "deep",
        "- " * 300 + "deep",
        "1. " * 30 + "deep",
        "|a" * 60 + "\n" + "|-" * 60 + "\n" + "|日本" * 60,
        "**_`[" * 200,
        "日本語" * 50 + "\n" + "x" * 300,
        "```\n" + "wide 日本 " * 40,
        "- > | a | b |\n  > |---|---|\n  > | one | two |\n\n```",
        "-\n-\n\n#\n\n>\n\n||\n|-|\n",
        "",
    ],
)
def test_every_row_fits_or_is_deeper_than_any_answer(text: str, width: int) -> None:
    lines: list[Line] = markdown_lines(text, width)
    depth = text.count("> ") + text.count("- ") + text.count("1. ")
    assert all(sum(cell_len(part) for part, _ in line) <= width or depth > 3 for line in lines)
