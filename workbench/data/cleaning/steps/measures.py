"""What the rules measure of a record: the figures that are told when a rule drops it.

The filters themselves are datatrove's; these say by how much. Each takes a record and gives a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from datatrove.pipeline.filters.gopher_repetition_filter import (
    find_all_duplicate,
    find_duplicates,
    find_top_duplicate,
    get_n_grams,
)
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION, split_into_words

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.words import TOKENIZER

Measure = Callable[[Item], float]
_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile("\n+")


def _words(item: Item) -> list[str]:
    words: list[str] = split_into_words(item.text, TOKENIZER)
    return words


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _real(item: Item) -> list[str]:
    return [word for word in _words(item) if any(letter not in PUNCTUATION_SET for letter in word)]


def words(item: Item) -> float:
    """Words that are more than punctuation."""
    return float(len(_real(item)))


def word_length(item: Item) -> float:
    """Mean letters of those."""
    real = _real(item)
    return _share(sum(map(len, real)), len(real))


def hashes(item: Item) -> float:
    """`#` for each word."""
    return _share(item.text.count("#"), len(_words(item)))


def ellipses(item: Item) -> float:
    """`...` and `…` for each word."""
    return _share(item.text.count("...") + item.text.count("…"), len(_words(item)))


def bullets(item: Item) -> float:
    """Lines that begin as bullets."""
    lines = item.text.splitlines()
    return _share(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines))


def ellipsis_lines(item: Item) -> float:
    """Lines that end in an ellipsis."""
    lines = item.text.splitlines()
    return _share(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines))


def alpha_words(item: Item) -> float:
    """Words with a letter."""
    all_words = _words(item)
    return _share(sum(any(map(str.isalpha, word)) for word in all_words), len(all_words))


def stop_words(known: Sequence[str]) -> Measure:
    """Different stop words of a list."""
    wanted = set(known)
    return lambda item: float(len(wanted.intersection(_words(item))))


def _duplicates(parts: list[str]) -> tuple[int, int]:
    elements, characters = find_duplicates(parts)
    return elements, characters


def repeated_lines(item: Item) -> float:
    """Lines that came before."""
    lines = _LINES.split(item.text)
    return _share(_duplicates(lines)[0], len(lines))


def repeated_line_characters(item: Item) -> float:
    """Their share of the characters."""
    return _share(_duplicates(_LINES.split(item.text))[1], len(item.text))


def repeated_paragraphs(item: Item) -> float:
    """Paragraphs that came before."""
    paragraphs = _PARAGRAPHS.split(item.text.strip())
    return _share(_duplicates(paragraphs)[0], len(paragraphs))


def repeated_paragraph_characters(item: Item) -> float:
    """Their share of the characters."""
    return _share(_duplicates(_PARAGRAPHS.split(item.text.strip()))[1], len(item.text))


def top(n: int) -> Measure:
    """Characters that the commonest n-gram makes up."""

    def measure(item: Item) -> float:
        grams = get_n_grams(_words(item), n)
        return _share(find_top_duplicate(grams), len(item.text)) if grams else 0.0

    return measure


def repeated(n: int) -> Measure:
    """Characters in n-grams that came before."""
    return lambda item: _share(find_all_duplicate(_words(item), n), len(item.text))


def _full_lines(item: Item) -> list[str]:
    return [line for line in item.text.split("\n") if line.strip()]


def punctuated_lines(item: Item) -> float:
    """Lines that end in terminal punctuation."""
    lines, ends = _full_lines(item), tuple(TERMINAL_PUNCTUATION)
    return _share(sum(line.endswith(ends) for line in lines), len(lines))


def short_lines(length: int) -> Measure:
    """Lines of at most so many characters."""

    def measure(item: Item) -> float:
        lines = _full_lines(item)
        return _share(sum(len(line) <= length for line in lines), len(lines))

    return measure


def repeated_line_characters_fineweb(item: Item) -> float:
    """Characters of lines that came before, of all but line breaks."""
    return _share(_duplicates(_full_lines(item))[1], len(item.text.replace("\n", "")))


def line_breaks(item: Item) -> float:
    """Line breaks for each word."""
    return _share(item.text.count("\n"), len(_words(item)))


def brackets(item: Item) -> float:
    """Curly brackets."""
    return float(item.text.count("{"))


def lorem(item: Item) -> float:
    """Filler text."""
    return float(item.text.lower().count("lorem ipsum"))
