"""The definitions in source code, which serve as its headings."""

from __future__ import annotations

import re

from workbench.prompting.retrieval.extraction.document import Heading

LANGUAGES = (
    ".c .cc .cpp .cs .css .cu .cuh .cxx .dart .go .h .hpp .java .jl .js .jsx .kt .lua .m .mjs .php .pl "
    ".proto .py .pyi .rb .rs .scala .sh .swift .ts .tsx .zig"
)
SUFFIXES = frozenset(LANGUAGES.split())

DEFINITION = re.compile(
    r"""^(?P<indent>[ \t]*)
    (?:(?:export|default|public|private|protected|internal|static|abstract|final|async|unsafe|inline|virtual
        |override|constexpr|pub(?:\([^)\n]*\))?)[ \t]+)*
    (?P<kind>class|def|fn|func|function|struct|enum|interface|trait|impl|module|namespace|type)[ \t]+
    (?:\([^)\n]*\)[ \t]*)?
    (?P<name>[A-Za-z_$][\w$.:]*)
    (?=[ \t]*[(:{<\[=]|[ \t]+(?:extends|implements|for|where|struct|interface)\b)""",
    re.MULTILINE | re.VERBOSE,
)

ABOVE = ("@", "#", "//", "/*", "*", "--")
"""How decorators, attributes and comments begin, which belong to the definition right below them."""

GOES_ON = ("{", "}", ")", "]", "end", "else", "except", "finally", "catch")
"""How a line begins that is still part of a definition, though it is indented no deeper."""

LINE = re.compile(r"^([ \t]*)(\S.*)$", re.MULTILINE)


def definitions(text: str) -> tuple[Heading, ...]:
    """Classes, functions and their like in the common languages, by their first lines.

    What is indented deeper stands under what is indented less; a heading without a title ends the last
    definition. A line that only looks like a definition costs a cut at a worse place, no more.
    """
    headings: list[Heading] = []
    found = {match.start(): match for match in DEFINITION.finditer(text)}
    open_levels: list[int] = []
    for line in LINE.finditer(text):
        level = len(line[1].expandtabs(4))
        definition = found.get(line.start())
        if definition is None and (not open_levels or level > open_levels[-1] or _goes_on(line[2])):
            continue
        while open_levels and open_levels[-1] >= level:
            open_levels.pop()
        if definition is None:
            headings.append(Heading(line.start(), line.start(), level, ""))
            continue
        open_levels.append(level)
        start = _with_lines_above(text, line.start())
        while headings and headings[-1].start >= start:
            headings.pop()
        title = f"{definition['kind']} {definition['name'].rstrip(':')}"
        headings.append(Heading(start, line.start(), level, title))
    return tuple(headings)


def _goes_on(line: str) -> bool:
    return line.startswith((*GOES_ON, *ABOVE))


def _with_lines_above(text: str, start: int) -> int:
    while start > 0:
        above = text.rfind("\n", 0, start - 1) + 1
        if not text[above:start].lstrip().startswith(ABOVE):
            break
        start = above
    return start
