"""Where a text states its answer: `\\boxed{…}`, `#### …`, “the answer is …”."""

from __future__ import annotations

import re
from collections.abc import Iterator

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_HASHES = re.compile(r"^[ \t]*####(?!#)[ \t]*", re.MULTILINE)
_STATED = re.compile(
    # “the answer (arabic numerals) is”, “Answer:”, “the final answer would be”, “**Answer**: ”
    r"\banswers?\b[^\n.:=?!]{0,60}?(?:\b(?:is|are|be|was)\b(?!\s*(?:below|as follows)\b)|[:=])",
    re.IGNORECASE,
)
MOST_MARKS = 20
"""A text with more of them has lost its way; the last ones count."""

_LEADING = " \t:=*_`\"'“”‘’$"


def statements(text: str) -> Iterator[str]:
    """What stands after each mark of an answer to the end of its line, the last mark first.

    Where the line ends with the mark, the next line that is not empty counts.
    """
    marks = [(match.end(), read) for pattern, read in _MARKS for match in pattern.finditer(text)]
    marks.sort(key=lambda mark: mark[0], reverse=True)
    for start, read in marks[:MOST_MARKS]:
        statement = read(text, start)
        if statement:
            yield statement


def _line(text: str, start: int) -> str:
    """The rest of the line, without emphasis and quotes before it."""
    rest = text[start:].lstrip(_LEADING + "\r\n")
    return rest.split("\n", 1)[0].rstrip()


def _braced(text: str, start: int) -> str:
    """What stands up to the closing brace, or to the end where none closes."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position].strip()
    return text[start:].strip()


_MARKS = ((_BOXED, _braced), (_HASHES, _line), (_STATED, _line))
