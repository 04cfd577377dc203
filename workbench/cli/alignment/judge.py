"""A judge that is a rule: it stands in for the person, so that the small path runs by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

WORD = re.compile(r"[A-Za-z][a-z]+|[A-Z]+(?![a-z])")
STEM = 4
"""Words that begin with the same letters, this many, are about the same thing."""
ENOUGH, TOO_LONG = 4, 16
"""Words of a sentence: fewer say nothing, more ramble."""


def words(text: str) -> list[str]:
    """The words of a text, of `snake_case` and `camelCase` names too, in small letters."""
    return [word.lower() for word in WORD.findall(text)]


@dataclass(frozen=True)
class Judge:
    """It knows the words in `vocabulary`, and holds others to be made up."""

    vocabulary: frozenset[str]

    def quality(self, signature: str, sentence: str) -> float:
        """How good a sentence about a function is, from 0 to 5, a point for each of these.

        It ends as a sentence does; it is neither curt nor rambling; its words are words; it does not repeat
        itself; it speaks of what the function's first line names (half of the names are enough).
        """
        said, text = words(sentence), sentence.strip()
        if not said:
            return 0.0
        ended = float(text.endswith(".") and "\n" not in text)
        length = float(ENOUGH <= len(said) <= TOO_LONG)
        real = sum(word in self.vocabulary for word in said) / len(said)
        fresh = len(set(said)) / len(said)
        named = {word[:STEM] for word in words(signature.removeprefix("def "))}
        about = len(named & {word[:STEM] for word in said})
        return ended + length + real**2 + fresh**2 + min(1.0, 2 * about / max(len(named), 1))

    def ranks(self, signature: str, sentences: Sequence[str]) -> list[int]:
        """Ranks of sentences about a function, 1 the best; equally good ones are tied."""
        scores = [round(self.quality(signature, sentence), 3) for sentence in sentences]
        return [1 + sum(other > score for other in scores) for score in scores]
