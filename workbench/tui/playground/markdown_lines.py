"""Markdown laid out as lines of text. Importing it imports the parser; what shows it does so when asked to.

The text is a model's, so nothing in it may act: HTML stays text, links are shown with their addresses, and
control characters, those written as entities too, are shown as pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import zip_longest

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from rich.cells import cell_len

from workbench.tui.playground.stream_lines import add_span, literal
from workbench.tui.widgets.text_lines import Line, plain, wrap

NARROWEST = 8
"""Cells below which indenting is given up, and a table's columns stand below each other."""
DEEPEST = 40
EMPHASES = {"strong": "strong", "em": "emphasis", "s": "strike"}
BETWEEN = 2
"""Blanks between the columns of a table."""


@cache
def _parser() -> MarkdownIt:
    options = {"html": False, "maxNesting": DEEPEST}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"])


def markdown_lines(text: str, width: int) -> list[Line]:
    """Markdown in rows of at most `width` cells. Line breaks are kept, as people write to models."""
    return _blocks(SyntaxTreeNode(_parser().parse(text)).children, max(width, NARROWEST))


def _blocks(nodes: Sequence[SyntaxTreeNode], width: int, *, tight: bool = False) -> list[Line]:
    lines: list[Line] = []
    for number, node in enumerate(nodes):
        if number and not tight:
            lines.append(())
        lines += _block(node, width)
    return lines


def _block(node: SyntaxTreeNode, width: int) -> list[Line]:
    match node.type:
        case "paragraph":
            return _wrapped(_inline(node.children, ""), width)
        case "heading":
            role = "title" if node.tag in ("h1", "h2") else "strong"
            return _wrapped(_inline(node.children, role), width)
        case "fence" | "code_block":
            rows = literal(node.content).removesuffix("\n").split("\n")
            return _behind("│ ", _wrapped([plain(row, "code") if row else () for row in rows], width - 2))
        case "blockquote":
            return _behind("▌ ", _blocks(node.children, max(width - 2, NARROWEST)))
        case "bullet_list" | "ordered_list":
            return _list(node, width)
        case "table":
            return _table(node, width)
        case "hr":
            return [plain("─" * width, "dim")]
    return _wrapped(_inline([node], ""), width)


def _list(node: SyntaxTreeNode, width: int) -> list[Line]:
    """A list: what an item goes on with stands below its first word."""
    first = int(node.attrs.get("start", 1))
    signs = [
        f"{first + number}. " if node.type == "ordered_list" else "• " for number in range(len(node.children))
    ]
    indent = max(map(len, signs), default=0)
    tight = all(
        child.hidden for item in node.children for child in item.children if child.type == "paragraph"
    )
    lines: list[Line] = []
    for number, (sign, item) in enumerate(zip(signs, node.children, strict=True)):
        if number and not tight:
            lines.append(())
        body = _blocks(item.children, max(width - indent, NARROWEST), tight=tight) or [()]
        lines.append((((sign.rjust(indent)), "key"), *body[0]))
        lines += [((" " * indent, ""), *line) if line else () for line in body[1:]]
    return lines


def _table(node: SyntaxTreeNode, width: int) -> list[Line]:
    """Columns as wide as what is in them, or, where that is too much, the widest made narrower first."""
    rows = [
        [_inline(cell.children, "strong" if cell.type == "th" else "") for cell in row.children]
        for part in node.children
        for row in part.children
    ]
    count = max(map(len, rows))
    room = width - BETWEEN * (count - 1)
    to_right = ["right" in str(cell.attrs.get("style")) for cell in node.children[0].children[0].children]
    # Every row has as many cells as the first: the parser sees to that.
    sizes = [max(max(_width(line) for line in row[at]) for row in rows) or 1 for at in range(count)]
    if room < NARROWEST * count and sum(sizes) > room:
        return _beneath(rows, width)
    while sum(sizes) > room:
        sizes[sizes.index(max(sizes))] -= 1
    lines: list[Line] = []
    for number, row in enumerate(rows):
        cells = [_wrapped(cell, size) for cell, size in zip(row, sizes, strict=True)]
        lines += [_row(parts, sizes, to_right) for parts in zip_longest(*cells, fillvalue=())]
        if not number:
            lines.append(plain((" " * BETWEEN).join("─" * size for size in sizes), "dim"))
    return lines


def _row(parts: Iterable[Line], sizes: Sequence[int], to_right: Sequence[bool]) -> Line:
    row: Line = ()
    for part, size, right in zip(parts, sizes, to_right, strict=True):
        blank = (" " * (size - _width(part)), "")
        row = (*row, (" " * BETWEEN * bool(row), ""), *((blank, *part) if right else (*part, blank)))
    return row


def _beneath(rows: list[list[list[Line]]], width: int) -> list[Line]:
    """A table that is too wide: every cell in lines of its own, a blank line behind each row."""
    lines: list[Line] = []
    for number, row in enumerate(rows):
        lines += [()] * bool(number) + [line for cell in row for line in _wrapped(cell, width)]
    return lines


def _inline(nodes: Sequence[SyntaxTreeNode], role: str) -> list[Line]:
    """What stands in a paragraph, as the lines it was written in."""
    lines: list[Line] = [()]
    for node in nodes:
        for number, line in enumerate(_spans(node, role)):
            if number:
                lines.append(())
            for text, own in line:
                lines[-1] = add_span(lines[-1], text, own)
    return lines


def _spans(node: SyntaxTreeNode, role: str) -> list[Line]:
    match node.type:
        case "inline":
            return _inline(node.children, role)
        case "strong" | "em" | "s":
            return _inline(node.children, f"{EMPHASES[node.type]} {role}".strip())
        case "softbreak" | "hardbreak":
            return [(), ()]
        case "link":
            lines = _inline(node.children, role)
            href = literal(str(node.attrs.get("href", "")))
            said = "".join(text for line in lines for text, _ in line)
            if href and href not in (said, f"mailto:{said}"):
                lines[-1] = (*lines[-1], (f" ({href})", "dim"))
            return lines
        case "image":
            source = literal(str(node.attrs.get("src", "")))
            return [((f"[{literal(node.content)}]", role), (f" ({source})", "dim"))]
        case "code_inline":
            role = f"{role} code".strip()
    return [plain(part, role) if part else () for part in literal(node.content).split("\n")]


def _wrapped(lines: Iterable[Line], width: int) -> list[Line]:
    return [row for line in lines for row in wrap(line, max(width, 1))]


def _behind(sign: str, lines: Iterable[Line]) -> list[Line]:
    return [((sign, "dim"), *line) for line in lines]


def _width(line: Line) -> int:
    return sum(cell_len(text) for text, _ in line)
