"""A file's text, with what tells a reader where in the file a piece of it stands."""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Unit = Literal["line", "page"]

SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Heading:
    """A heading, or the first line of a definition in source code: text[start:end] is all of its markup.

    A heading stands under the last one before it with a smaller `level`. One without a title ends the
    section that it stands in.
    """

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True)
class Document:
    """The text extracted from one file.

    `marks` are pairs (offset into `text`, line or page of the file), ascending and starting at offset 0:
    from there on, the text stands in that line or page. `notes` says what was lost on the way.
    """

    title: str
    text: str
    unit: Unit
    marks: tuple[tuple[int, int], ...]
    headings: tuple[Heading, ...] = ()
    notes: tuple[str, ...] = ()

    def place(self, start: int, end: int) -> tuple[int, int]:
        """The first and last line or page of text[start:end], counted from 1."""
        first = bisect.bisect_right(self.marks, start, key=_offset) - 1
        last = bisect.bisect_right(self.marks, max(start, end - 1), key=_offset) - 1
        return self.marks[max(first, 0)][1], self.marks[max(last, 0)][1]


def _offset(mark: tuple[int, int]) -> int:
    return mark[0]


def line_marks(text: str) -> tuple[tuple[int, int], ...]:
    """The marks of a text whose lines are the file's own."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    return tuple((start, number) for number, start in enumerate(starts, 1))


def heading_paths(headings: Sequence[Heading]) -> list[tuple[str, ...]]:
    """For each heading its title, if any, after the titles of those that it stands under."""
    open_headings: list[Heading] = []
    paths = []
    for heading in headings:
        while open_headings and open_headings[-1].level >= heading.level:
            open_headings.pop()
        if heading.title:
            open_headings.append(heading)
        paths.append(tuple(above.title for above in open_headings))
    return paths


def clean(text: str) -> str:
    """Lone surrogates, which no file can hold, become U+FFFD; line ends become `\\n`."""
    return SURROGATES.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    """Text with every run of white space as one blank."""
    return " ".join(text.split())
