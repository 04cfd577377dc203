"""Cutting a document into passages: at headings, then paragraphs, then sentences or lines, then words.

Every passage is text[start:end] of its document, exactly; together they cover all that is not white space.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from workbench.errors import PromptError
from workbench.prompting.retrieval.extraction.document import Document, heading_paths
from workbench.prompting.retrieval.sentences import sentence_starts

BYTES_PER_TOKEN = 4
"""What a token of the common vocabularies holds of English; of other scripts it holds fewer letters, and
those take more bytes each, so that bytes foretell tokens better than letters do."""

HEADING, PARAGRAPH, SENTENCE, LINE, WORD = 4, 3, 2, 1, 0
"""How good a place for a cut is."""

PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")
ITEM_START = re.compile(r"\n(?=[ \t]*(?:[-*+•|]|\d{1,3}[.)])[ \t])")
LINE_END = re.compile(r"\n+")
BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)*")
BLANK = re.compile(r"\s+")


@dataclass(frozen=True)
class Chunking:
    """How long passages are and how much of the last one the next repeats, in `unit`."""

    target: int = 1200
    overlap: int = 150
    unit: Literal["characters", "tokens"] = "characters"

    def __post_init__(self) -> None:
        smallest = 100 // (BYTES_PER_TOKEN if self.unit == "tokens" else 1)
        if self.unit not in ("characters", "tokens"):
            raise PromptError(f"passages are not measured in “{self.unit}”", hint="characters, or tokens")
        if self.target < smallest:
            raise PromptError(
                f"a passage of {self.target} {self.unit} is too short", hint=f"target: {smallest} or more"
            )
        if not 0 <= self.overlap <= self.target // 2:
            raise PromptError(
                f"an overlap of {self.overlap} does not go with passages of {self.target} {self.unit}",
                hint=f"overlap: 0 to {self.target // 2}",
            )


@dataclass(frozen=True)
class Chunk:
    """A passage of a document: its offsets, its lines or pages, and the headings it stands under."""

    start: int
    end: int
    first: int
    last: int
    headings: tuple[str, ...]


def measure(text: str, unit: str) -> int:
    """The length of a text; tokens are estimated, and rounded up."""
    return len(text) if unit == "characters" else -(-len(text.encode()) // BYTES_PER_TOKEN)


def split(document: Document, chunking: Chunking) -> list[Chunk]:
    """The passages of a document, in order."""
    text = document.text
    starts = [heading.start for heading in document.headings]
    paths = heading_paths(document.headings)
    chunks = []
    for start, end in _Packing(document, chunking).spans():
        start = _after_blank_lines(text, start, end)
        end = start + len(text[start:end].rstrip())
        if start < end:
            first, last = document.place(start, end)
            chunks.append(Chunk(start, end, first, last, _path(starts, paths, start, end)))
    return chunks


def _after_blank_lines(text: str, start: int, end: int) -> int:
    blank = BLANK_LINES.match(text, start, end)
    return blank.end() if blank else start


def _path(starts: list[int], paths: list[tuple[str, ...]], start: int, end: int) -> tuple[str, ...]:
    """The headings that all of text[start:end] stands under."""
    first = bisect.bisect_right(starts, start) - 1
    last = bisect.bisect_left(starts, end)
    inside = [paths[number] if number >= 0 else () for number in range(first, last)]
    common = 0
    while all(len(path) > common and path[common] == inside[0][common] for path in inside):
        common += 1
    return inside[0][:common]


class _Packing:
    """Pieces between possible cuts, packed greedily into passages of at most the target length."""

    def __init__(self, document: Document, chunking: Chunking) -> None:
        scale = BYTES_PER_TOKEN if chunking.unit == "tokens" else 1
        self.target, self.overlap = chunking.target * scale, chunking.overlap * scale
        cuts = _cuts(document, chunking.unit, self.target)
        self.offsets = sorted(cuts)
        self.quality = [cuts[offset] for offset in self.offsets]
        pieces = (document.text[start:end] for start, end in pairwise(self.offsets))
        self.length = list(accumulate((_length(piece, chunking.unit) for piece in pieces), initial=0))

    def spans(self) -> Iterator[tuple[int, int]]:
        """Start and end of every passage; each ends after the one before it."""
        start, last_end, count = 0, 0, len(self.offsets) - 1
        while last_end < count:
            end = self._end(start, last_end)
            yield self.offsets[start], self.offsets[end]
            start, last_end = self._next_start(start, end), end

    def _end(self, start: int, last_end: int) -> int:
        """The best cut after `last_end` at which a passage from `start` can end."""
        furthest = bisect.bisect_right(self.length, self.length[start] + self.target) - 1
        furthest = max(furthest, last_end + 1)
        candidates = range(last_end + 1, furthest + 1)
        # A section ends its passage unless it is very short: then what follows joins it.
        for cut in candidates:
            if self.quality[cut] == HEADING and self._between(start, cut) * 4 >= self.target:
                return cut
        if furthest == len(self.offsets) - 1:
            return furthest
        long_enough = [cut for cut in candidates if self._between(start, cut) * 2 >= self.target]
        return max(long_enough or candidates, key=lambda cut: (self.quality[cut], cut))

    def _next_start(self, start: int, end: int) -> int:
        """Where the next passage starts: at the first sentence (or else line, or word) before `end` that is
        near enough to be repeated, but never at what stands under another heading."""
        if end >= len(self.offsets) - 1 or self.quality[end] == HEADING:
            return end
        near: list[int] = []
        for cut in range(end - 1, start, -1):
            if self._between(cut, end) > self.overlap or self._between(cut, end + 1) > self.target:
                break
            near.append(cut)
            if self.quality[cut] == HEADING:
                break
        return max(near, key=lambda cut: (min(self.quality[cut], SENTENCE), -cut), default=end)

    def _between(self, start: int, end: int) -> int:
        return self.length[end] - self.length[start]


def _length(text: str, unit: str) -> int:
    return len(text) if unit == "characters" else len(text.encode())


def _cuts(document: Document, unit: str, longest: int) -> dict[int, int]:
    """Where the text may be cut, with how good a place that is; no piece is longer than `longest`."""
    text = document.text
    cuts = {match.end(): LINE for match in LINE_END.finditer(text)}
    cuts |= {match.end(): SENTENCE for match in ITEM_START.finditer(text)}
    cuts |= dict.fromkeys(sentence_starts(text), SENTENCE)
    cuts |= {match.end(): PARAGRAPH for match in PARAGRAPH_END.finditer(text)}
    for heading in document.headings:
        # What follows a heading belongs to it: no cut inside it or right behind it.
        after = BLANK.match(text, heading.end)
        for offset in range(heading.start + 1, (after.end() if after else heading.end) + 1):
            cuts.pop(offset, None)
    cuts |= {heading.start: HEADING for heading in document.headings}
    cuts |= {0: HEADING, len(text): HEADING}
    for start, end in pairwise(sorted(cuts)):
        cuts |= dict.fromkeys(_word_cuts(text, start, end, unit, longest), WORD)
    return cuts


def _word_cuts(text: str, start: int, end: int, unit: str, longest: int) -> Iterator[int]:
    """Cuts inside a piece that is too long: at white space where there is some, else in a word."""
    # The most bytes that a character takes; a step of this many characters always fits.
    step = longest if unit == "characters" else longest // BYTES_PER_TOKEN
    while end - start > step:
        cut = max(text.rfind(blank, start + step // 2, start + step) for blank in " \n\t") + 1
        start = cut if cut > start + step // 2 else start + step
        yield start
