"""Text as the words that lexical search compares."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

WORD = re.compile(r"\w+")
ACCENTS = re.compile("[\u0300-\u036f]")
UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
"""Scripts written without blanks: Japanese kana and Chinese characters."""

PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
"""The parts of `camelCase`, `HTTPServer`, `snake_case` and `sha256`."""

SHORTEST_STEM = 3


def words(text: str) -> list[str]:
    """The words of a text, folded: no case, no accents, no English plural; identifiers also by their parts.

    Chinese and Japanese, which have no blanks, come in pairs of characters.
    """
    return [folded for word in WORD.findall(_without_accents(text)) for folded in _fold(word)]


def _without_accents(text: str) -> str:
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", ACCENTS.sub("", unicodedata.normalize("NFKD", text)))


@lru_cache(maxsize=1 << 16)
def _fold(word: str) -> tuple[str, ...]:
    if UNSPACED.search(word):
        return tuple(_pairs(word))
    parts = PARTS.findall(word)
    if len(parts) < 2 or not word.isascii():
        return (_singular(word.casefold()),)
    return (word.casefold(), *(_singular(part.casefold()) for part in parts))


def _pairs(word: str) -> Iterator[str]:
    end = 0
    for run in UNSPACED.finditer(word):
        if run.start() > end:
            yield _singular(word[end : run.start()].casefold())
        characters, end = run[0], run.end()
        yield from (characters[n : n + 2] for n in range(max(1, len(characters) - 1)))
    if end < len(word):
        yield _singular(word[end:].casefold())


def _singular(word: str) -> str:
    """The S-stemmer of Harman, How effective is suffixing? (1991): plurals alone, so that it rarely errs."""
    if len(word) <= SHORTEST_STEM or not word.endswith("s") or not word.isalpha():
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    return word if word.endswith(("us", "ss")) else word[:-1]
