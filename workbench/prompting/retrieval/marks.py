"""Citation marks in an answer: `[1]`, `[1, 3]`, `[2–4]`, and the sentences that carry them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from workbench.prompting.retrieval.sentences import sentence_starts

MARK = re.compile(
    r"[\[【]\s*(?:(?:passages?|sources?)\s+)?(\d{1,3}(?:\s*(?:,|;|&|and|-|–)\s*\d{1,3})*)\s*[\]】](?!\()",
    re.IGNORECASE,
)
RANGE = re.compile(r"(\d+)\s*[-–]\s*(\d+)|(\d+)")
LONGEST_RANGE = 20
LEADING_MARKS = re.compile(rf"(?:{MARK.pattern}[ \t.,;:]*)+", re.IGNORECASE)
BREAK = re.compile(r"\n[ \t]*\n\s*|\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])")


@dataclass(frozen=True)
class Sentence:
    """text[start:end] of an answer, and the numbers that it cites, in order."""

    start: int
    end: int
    text: str
    cited: tuple[int, ...]


def numbers_in(text: str) -> list[int]:
    """All numbers cited in a text, each once, in order."""
    numbers = []
    for mark in MARK.finditer(text):
        for first, last, single in RANGE.findall(mark[1]):
            if single:
                numbers.append(int(single))
            elif 0 <= int(last) - int(first) < LONGEST_RANGE:
                numbers += range(int(first), int(last) + 1)
            else:
                numbers += [int(first), int(last)]
    return list(dict.fromkeys(numbers))


def without_marks(text: str) -> str:
    """The text without its citations."""
    return re.sub(rf"[ \t]*{MARK.pattern}", "", text, flags=re.IGNORECASE)


def sentences(text: str) -> list[Sentence]:
    """The sentences of an answer; a mark behind a full stop belongs to the sentence before it."""
    starts = {0, len(text), *sentence_starts(text), *(match.end() for match in BREAK.finditer(text))}
    moved = [_behind_marks(text, start) for start in sorted(starts)]
    found = []
    for start, end in pairwise(sorted(set(moved))):
        sentence = text[start:end]
        if without_marks(sentence).strip():
            start += len(sentence) - len(sentence.lstrip())
            end = start + len(sentence.strip())
            found.append(Sentence(start, end, sentence.strip(), tuple(numbers_in(sentence))))
    return found


def _behind_marks(text: str, start: int) -> int:
    """Where a sentence begins that seems to begin with marks: after them, if they do not lead into it."""
    marks = LEADING_MARKS.match(text, start)
    if start == 0 or marks is None or "\n" in text[max(0, start - 1) : start]:
        return start
    following = text[marks.end() : marks.end() + 1]
    return start if following.islower() else marks.end()
