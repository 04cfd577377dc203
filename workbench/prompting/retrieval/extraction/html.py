"""Text out of HTML pages: title, headings, paragraphs, lists and tables, without what surrounds them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

from workbench.errors import DataError
from workbench.prompting.retrieval.extraction.decoding import declared_charset, decode
from workbench.prompting.retrieval.extraction.document import Document, Heading, one_line


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


VOID = _names("area base br col embed hr img input link meta param source track wbr")
LEFT_OUT = _names(
    "audio button canvas datalist dialog footer iframe menu nav noscript object script select style "
    "svg template textarea video"
)
LEFT_OUT_AROUND = frozenset({"aside", "header"})
"""Left out around the content; inside it they hold its title, its notes."""

CONTENT = frozenset({"article", "main", "section"})
LEFT_OUT_ROLES = frozenset({"banner", "contentinfo", "menu", "navigation", "search"})
HEADINGS = {f"h{level}": level for level in range(1, 7)}
ITEMS = frozenset({"dd", "dt", "li", "tr"})
BLOCKS = (
    _names(
        "address article aside blockquote body caption details dl div fieldset figcaption figure footer "
        "form header hr main nav ol p pre section summary table tbody tfoot thead ul"
    )
    | ITEMS
    | HEADINGS.keys()
)
CELLS = frozenset({"td", "th"})
CLOSED_BY_NEXT = frozenset({"p", "option"}) | ITEMS | CELLS
"""Elements whose end tag pages leave out: the next of the kind ends them."""

HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


@dataclass
class Block:
    """A run of text with nothing but inline markup in it."""

    text: str
    line: int
    level: int = 0
    item: bool = False
    verbatim: bool = False


def read_html(data: bytes, name: str) -> Document:
    """The text of a page, its lines marked with the lines of the file. Raises `DataError` for no text."""
    source, notes = decode(data, charset=declared_charset(data))
    page = _Page()
    page.feed(source)
    page.close()
    page.end_block()
    blocks = page.main_blocks or page.blocks
    if not blocks:
        raise DataError("the page holds no text; is it drawn by scripts?")
    parts: list[str] = []
    marks: list[tuple[int, int]] = []
    headings = []
    offset = 0
    for number, block in enumerate(blocks):
        if number:
            separator = "\n" if block.item and blocks[number - 1].item else "\n\n"
            parts.append(separator)
            offset += len(separator)
        # A block starts its mark where the one before ends, so that offset 0 is always marked.
        marks.append((offset, block.line))
        if block.verbatim:
            marks += [
                (offset + end.end(), block.line + n) for n, end in enumerate(re.finditer("\n", block.text), 1)
            ]
        if block.level:
            headings.append(Heading(offset, offset + len(block.text), block.level, block.text))
        parts.append(block.text)
        offset += len(block.text)
    title = one_line("".join(page.title)) or next((block.text for block in blocks if block.level == 1), name)
    return Document(title, "".join(parts), "line", tuple(marks), tuple(headings), notes)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.blocks: list[Block] = []
        self.main_blocks: list[Block] = []
        self._open: list[str] = []
        self._left_out_at: int | None = None
        self._main_at: int | None = None
        self._parts: list[str] = []
        self._line = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in CLOSED_BY_NEXT and self._open and self._open[-1] == tag:
            self.handle_endtag(tag)
        if tag in BLOCKS:
            self.end_block()
        elif tag == "br":
            self._parts.append("\n")
        elif tag in CELLS and self._text():
            self._parts.append(" | ")
        if tag in VOID:
            return
        attributes = dict(attrs)
        if self._left_out_at is None and self._is_left_out(tag, attributes):
            self._left_out_at = len(self._open)
        if self._main_at is None and (tag == "main" or attributes.get("role") == "main"):
            self._main_at = len(self._open)
        self._open.append(tag)

    def _is_left_out(self, tag: str, attributes: dict[str, str | None]) -> bool:
        return (
            tag in LEFT_OUT
            or (tag in LEFT_OUT_AROUND and CONTENT.isdisjoint(self._open))
            or (attributes.get("role") or "").lower() in LEFT_OUT_ROLES
            or "hidden" in attributes
            or attributes.get("aria-hidden") == "true"
            or HIDDEN_STYLE.search(attributes.get("style") or "") is not None
        )

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self.end_block()
        if tag in self._open:
            while self._open.pop() != tag:
                pass
            if self._left_out_at is not None and len(self._open) <= self._left_out_at:
                self._left_out_at = None
            if self._main_at is not None and len(self._open) <= self._main_at:
                self._main_at = None

    def handle_data(self, data: str) -> None:
        if self._left_out_at is not None:
            return
        if self._open and self._open[-1] == "title":
            self.title.append(data)
            return
        if not self._line and data.strip():
            blank = data[: len(data) - len(data.lstrip())]
            self._line = self.getpos()[0] + blank.count("\n")
        self._parts.append(data if "pre" in self._open else re.sub(r"\s+", " ", data))

    def _text(self) -> str:
        return "".join(self._parts).strip()

    def end_block(self) -> None:
        """What was gathered since the last block becomes one, if it is more than white space."""
        verbatim = "pre" in self._open
        if verbatim:
            text = "\n".join(line.rstrip() for line in "".join(self._parts).split("\n")).strip("\n")
        else:
            text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", self._text()))
        line, self._parts, self._line = self._line, [], 0
        if not text.strip():
            return
        kind = next((tag for tag in reversed(self._open) if tag in BLOCKS), "")
        level = HEADINGS.get(kind, 0)
        if level:
            # Documentation tools put a link with this sign behind every heading.
            text = one_line(text).removesuffix("¶").rstrip()
        if text:
            inside = next((tag for tag in reversed(self._open) if tag in ITEMS), "")
            if inside == "li" and kind == "li":
                text = f"- {text}"
            block = Block(text, line, level, inside != "" and not verbatim, verbatim)
            self.blocks.append(block)
            if self._main_at is not None:
                self.main_blocks.append(block)
