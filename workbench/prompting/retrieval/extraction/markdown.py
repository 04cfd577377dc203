"""The headings of a Markdown text."""

from __future__ import annotations

import re

from workbench.prompting.retrieval.extraction.document import Heading, one_line

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
HASHES = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
NO_PARAGRAPH = re.compile(r"\s*$| {4}|\t| {0,3}(?:[-*+>|]|\d{1,9}[.)])(?:\s|$)")
FRONT_MATTER = re.compile(r"---[ \t]*\n.*?\n(?:---|\.\.\.)[ \t]*(?:\n|$)", re.DOTALL)
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
EMPHASIS = re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1")


def markdown_headings(text: str) -> tuple[Heading, ...]:
    """Headings marked by `#` or underlined (CommonMark, ATX and setext); code blocks hold none."""
    headings = []
    front_matter = FRONT_MATTER.match(text)
    offset = front_matter.end() if front_matter else 0
    fence = ""
    before, before_start = "", offset
    for bare in text[offset:].split("\n"):
        start, end = offset, offset + len(bare)
        offset = end + 1
        found = FENCE.match(bare)
        if fence:
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = ""
            bare = ""
        elif found:
            fence, bare = found[1], ""
        elif hashes := HASHES.match(bare):
            headings.append(Heading(start, end, len(hashes[1]), _plain(hashes[2] or "")))
            bare = ""
        elif (underline := UNDERLINE.match(bare)) and not NO_PARAGRAPH.match(before):
            level = 1 if underline[1][0] == "=" else 2
            headings.append(Heading(before_start, end, level, _plain(before)))
            bare = ""
        before, before_start = bare, start
    return tuple(heading for heading in headings if heading.title)


def _plain(title: str) -> str:
    return one_line(EMPHASIS.sub(r"\2", LINK.sub(r"\1", title)))
