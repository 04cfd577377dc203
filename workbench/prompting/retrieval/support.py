"""Which passage a sentence could be from, judged by its words alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from workbench.prompting.retrieval.marks import without_marks
from workbench.prompting.retrieval.numbered import Shown
from workbench.prompting.retrieval.sentences import sentence_starts
from workbench.prompting.retrieval.words import words

LEAST_SHARE = 0.7
"""Of the telling words of a sentence, the part that a passage must hold to count as its source; numbers it
must hold all. What SmolLM2-135M takes from passages shares nearly all words, what it makes up at most 0.6."""

FEWEST_SHARED = 2


@dataclass(frozen=True)
class Support:
    """The passage that holds the largest `share` of a sentence's telling words, and the sentence in it that
    holds most of them: passage.text[start:end]."""

    number: int
    share: float
    start: int
    end: int


def support_for(sentence: str, passages: Mapping[int, Shown]) -> Support | None:
    """The passage that a sentence could be from; the first of equal ones, None if no passage is near."""
    told = _telling(without_marks(sentence))
    figures = {word for word in told if word.isdigit()}
    held = {number: told & _telling(entry.text) for number, entry in passages.items()}
    held = {number: shared for number, shared in held.items() if figures <= shared}
    number = max(held, key=lambda number: (len(held[number]), -number), default=0)
    shared = held.get(number, frozenset())
    if len(shared) < max(min(FEWEST_SHARED, len(told)), LEAST_SHARE * len(told), 1):
        return None
    text = passages[number].text
    start, end = max(_spans(text), key=lambda span: (len(told & _telling(text[slice(*span)])), -span[0]))
    return Support(number, len(shared) / len(told), start, end)


@lru_cache(maxsize=256)
def _telling(text: str) -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return frozenset(words(text)).difference(STOPWORDS_EN_PLUS)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    starts: Sequence[int] = [0, *sentence_starts(text), len(text)]
    for start, end in pairwise(starts):
        yield start, start + len(text[start:end].rstrip())
