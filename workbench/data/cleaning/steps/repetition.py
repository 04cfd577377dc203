"""Gopher's rules of repetition by hashes of n-grams: datatrove's verdicts at a fifth of the time.

datatrove joins every n-gram into a string; here an n-gram is one of an array of hashes, and the walk that
counts repeated ones is only taken where they could be too many at all. (datatrove joins without blanks, so
that to it n-grams of other words with the same letters are the same; here they are not.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter, find_duplicates
from datatrove.utils.text import split_into_words

from workbench.data.cleaning.words import Hashes, n_gram_hashes, word_hashes


class HashedRepetitionFilter(GopherRepetitionFilter):
    """The filter with the same arguments and reasons."""

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        text = doc.text
        if not text:
            return False, "empty"
        for name, parts in (
            ("para", self.paragraph_exp.split(text.strip())),
            ("line", self._line_splitter.split(text)),
        ):
            repeated, characters = find_duplicates(parts)
            most, most_characters = getattr(self, f"dup_{name}_frac"), getattr(self, f"dup_{name}_char_frac")
            if most is not None and repeated / len(parts) > most:
                return False, f"dup_{name}_frac"
            if most_characters is not None and characters / len(text) > most_characters:
                return False, f"dup_{name}_char_frac"
        words = split_into_words(text, self.language)
        hashes = word_hashes(words)
        ends = np.concatenate([[0], np.cumsum(np.fromiter(map(len, words), np.int64, len(words)))])
        for n, most in self.top_n_grams:
            if len(words) >= n and commonest_characters(hashes, ends, n) / len(text) > most:
                return False, f"top_{n}_gram"
        for n, most in self.dup_n_grams:
            if len(words) >= n and repeated_characters(hashes, ends, n, most * len(text)) / len(text) > most:
                return False, f"duplicated_{n}_n_grams"
        return True


def commonest_characters(hashes: Hashes, ends: Any, n: int) -> int:
    """Characters of all occurrences of the commonest n-gram, blanks between its words included.

    Of several it is the first; none of one that occurs once, which datatrove counts, so that to it every text
    of twenty words repeats itself. `ends` are the places at which the words would end, one behind the other,
    with 0 before.
    """
    _, first, counts = np.unique(n_gram_hashes(hashes, n), return_index=True, return_counts=True)
    most = counts.max()
    if most == 1:
        return 0
    place = int(first[counts == most].min())
    return int(ends[place + n] - ends[place] + n - 1) * int(most)


def repeated_characters(hashes: Hashes, ends: Any, n: int, bound: float) -> int:
    """Characters of n-grams that came before, none counted twice: after one the walk goes on behind it.

    Where even all repeated ones together do not exceed `bound`, that sum is given.
    """
    grams = n_gram_hashes(hashes, n)
    _, first = np.unique(grams, return_index=True)
    if len(first) == len(grams):
        return 0
    sizes = ends[n:] - ends[:-n]
    again = np.ones(len(grams), bool)
    again[first] = False
    most = int(sizes[again].sum())
    if most <= bound:
        return most
    seen: set[int] = set()
    total = place = 0
    listed, lengths = grams.tolist(), sizes.tolist()
    while place < len(listed):
        if listed[place] in seen:
            total += lengths[place]
            place += n
        else:
            seen.add(listed[place])
            place += 1
    return total
