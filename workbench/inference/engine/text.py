"""Token ids to text as it streams: no broken characters, and nothing of a stop string. No torch."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many

Decode = Callable[[list[int]], str]

REPLACEMENT = "\ufffd"
LONGEST_CHARACTER = 4
"""Bytes of the longest character in UTF-8, so that many tokens at most are waited for to complete one."""
LOOK_BACK = 6
"""Tokens decoded again before new ones: how a token is written depends on those before it, in byte
fallback (a character of several) and in sentencepiece (the blank before a word)."""


class Detokenizer:
    """The text of a growing sequence, piece by piece; the pieces together are the decoding of the whole.

    A character whose bytes are not all there yet is held back. `before` are tokens that stand before the
    sequence and are written already: sentencepiece drops the blank of a first word, and keeps it of others.
    """

    def __init__(self, decode: Decode, before: Many[int] = ()) -> None:
        self._decode = decode
        self._ids = list(before[-LOOK_BACK:])
        self._start = 0
        """Where decoding begins: what lies before it is written and no longer has any influence."""
        self._read = len(self._ids)
        """Tokens whose text was given out."""

    def add(self, token: int) -> str:
        """What this token adds to the text, perhaps nothing yet."""
        self._ids.append(token)
        return self._advance(final=False)

    def finish(self) -> str:
        """What was held back, broken characters as U+FFFD."""
        return self._advance(final=True)

    def _advance(self, final: bool) -> str:
        read = len(self._ids) if final else self._complete()
        before = self._decode(self._ids[self._start : self._read])
        now = self._decode(self._ids[self._start : read])
        if not now.startswith(before):
            # Decoders that tidy up may take back a blank once the next word is known.
            before = _common(before, now)
        self._read = read
        self._start = max(self._start, read - LOOK_BACK)
        return now[len(before) :]

    def _complete(self) -> int:
        """How many tokens can be given out without cutting a character in two."""
        last = len(self._ids)
        for end in range(last, max(self._read, last - LONGEST_CHARACTER), -1):
            if not self._decode(self._ids[self._start : end]).endswith(REPLACEMENT):
                return end
        # What began so long ago is broken, and will not become whole.
        return max(self._read, last - LONGEST_CHARACTER + 1)


def _common(one: str, other: str) -> str:
    length = 0
    for ours, theirs in zip(one, other, strict=False):
        if ours != theirs:
            break
        length += 1
    return one[:length]


class StopStrings:
    """Lets text through until one of the strings appears, even where it is spread over many pieces.

    What could be the beginning of a stop string is held back until it is known not to be.
    """

    def __init__(self, stops: Many[str], *, include: bool = False) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._include = include
        self._held = ""
        self.found: str | None = None

    def add(self, text: str) -> str:
        """What may be shown of the text so far; after `found` is set, nothing more."""
        if self.found is not None:
            return ""
        if not self._stops:
            return text
        held = self._held + text
        # The one that is complete first, so that it does not matter in which pieces the text came.
        places = [(place + len(stop), place, stop) for stop in self._stops if (place := held.find(stop)) >= 0]
        if places:
            _, place, self.found = min(places)
            self._held = ""
            return held[: place + len(self.found)] if self._include else held[:place]
        keep = max(_overlap(held, stop) for stop in self._stops)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def finish(self) -> str:
        """What was held back: it was no stop string after all."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that `stop` begins with, and is longer than."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
