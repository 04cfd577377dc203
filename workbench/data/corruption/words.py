"""Which tokens of a vocabulary start a word, end a sentence, or are no text at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scheme = Literal["byte", "sentencepiece", "wordpiece", "none"]

BLANK = "Ġ"
"""A blank as byte-level vocabularies write it; byte n of the first 33 is written chr(256 + n)."""
UNDERLINE = "▁"
"""A blank as SentencePiece writes it."""
CONTINUES = "##"
"""What WordPiece puts before a piece that does not start a word."""
SENTENCE_ENDS = (".", "!", "?", "\n", chr(256 + ord("\n")), "<0x0A>")


def scheme_of(vocabulary: Collection[str]) -> Scheme:
    """How a vocabulary tells the pieces of words apart: by the sign that most of its tokens begin with."""
    signs: dict[Scheme, str] = {"byte": BLANK, "sentencepiece": UNDERLINE, "wordpiece": CONTINUES}
    counts = {name: sum(token.startswith(sign) for token in vocabulary) for name, sign in signs.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else "none"


@dataclass(frozen=True)
class WordTable:
    """What a vocabulary says about words, each [largest id + 1].

    `starts`: the token starts a word, whatever stands before it; `breaks`: the token behind it starts one
    (a punctuation mark, a newline); `ends_sentence`: its text ends in . ! ? or a newline; `ordinary`: it
    is text, not a special token; only such a token is ever hidden, and only such a one stands in for it.
    """

    starts: NDArray[np.bool_]
    breaks: NDArray[np.bool_]
    ends_sentence: NDArray[np.bool_]
    ordinary: NDArray[np.bool_]

    @classmethod
    def of(cls, vocabulary: Mapping[str, int], special: Collection[int]) -> WordTable:
        """From a vocabulary and the ids of its special tokens.

        In a byte-level or SentencePiece vocabulary, a blank or a punctuation mark starts a word, and letters
        behind a mark do; in a WordPiece one, everything does that does not begin with `##`. A vocabulary
        without any such sign has no words but its tokens.
        """
        size = max(vocabulary.values(), default=-1) + 1
        starts, breaks, ends, ordinary = (np.zeros(size, np.bool_) for _ in range(4))
        scheme = scheme_of(vocabulary)
        starts[:] = scheme == "none"
        for token, index in vocabulary.items():
            ordinary[index] = index not in special
            ends[index] = token.endswith(SENTENCE_ENDS)
            if scheme == "wordpiece":
                starts[index] = not token.startswith(CONTINUES)
            elif scheme != "none" and token:
                starts[index] = _is_blank(token[0], scheme) or _is_mark(token[0], scheme)
                breaks[index] = token[-1] not in (BLANK, UNDERLINE) and (
                    _is_blank(token[-1], scheme) or _is_mark(token[-1], scheme)
                )
        return cls(starts, breaks, ends, ordinary)

    @property
    def replacements(self) -> NDArray[np.int64]:
        """The ids that may stand in for a token."""
        return np.flatnonzero(self.ordinary).astype(np.int64)

    def words(self, tokens: NDArray[np.int64], may_hide: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The number [n] of the word that each token belongs to; one that may not be hidden ends a word."""
        behind = np.concatenate(([True], self.breaks[tokens[:-1]] | ~may_hide[:-1]))
        return np.cumsum(self.starts[tokens] | behind | ~may_hide).astype(np.int64)


def _is_blank(character: str, scheme: Scheme) -> bool:
    if scheme == "byte":
        return 256 <= ord(character) <= 256 + 32
    return character == UNDERLINE or character.isspace()


def _is_mark(character: str, scheme: Scheme) -> bool:
    # Bytes from 128 on are parts of letters, as far as one byte can tell.
    if scheme == "byte" and ord(character) >= 128:
        return False
    return not character.isalnum()
