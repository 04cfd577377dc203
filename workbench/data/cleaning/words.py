"""Words and sentences without downloads, and hashes of n-grams for whoever compares texts."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import xxhash
from datatrove.utils.word_tokenizers import WordTokenizer

Hashes = npt.NDArray[np.uint64]

_ALONE = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Scripts that write no blanks between words (Thai to Khmer, kana, Han): each letter counts as a word."""

TOKEN = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+(?:['’.\-](?=\w)[^\W{_ALONE}]+)*|[^\w\s]+")
_PLAIN = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}_]+")
_ACCENTED = re.compile(r"[^\x00-\x7f]+")
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
_SENTENCE_END = re.compile(
    r"[.!?…]+[\"'”’)\]]*(?:\s+(?=[\"'“‘(\[]*[^\sa-z])|\s*$)|[。！？]+[”’」』]*\s*|\s*\n\s*"
)


class PlainTokenizer(WordTokenizer):
    """Words by Unicode classes, sentences by punctuation: for datatrove's filters, whose own need
    downloads."""

    def word_tokenize(self, text: str) -> list[str]:
        """Words and runs of punctuation, in order."""
        return TOKEN.findall(text)

    def sent_tokenize(self, text: str) -> list[str]:
        """Sentences without the blanks around them."""
        return [sentence for a, b in self.span_tokenize(text) if (sentence := text[a:b].strip())]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Where each sentence begins and ends; together they are the text."""
        ends = [match.end() for match in _SENTENCE_END.finditer(text)]
        if not ends or text[ends[-1] :].strip():
            ends.append(len(text))
        ends[-1] = len(text)
        starts = [0, *ends[:-1]]
        return [(a, b) for a, b in zip(starts, ends, strict=True) if text[a:b].strip()] or [(0, len(text))]

    def __hash__(self) -> int:
        return hash(PlainTokenizer)

    def __eq__(self, other: object) -> bool:
        # Equal whatever process or copy it is in, so that datatrove's cache of split texts finds it.
        return isinstance(other, PlainTokenizer)


TOKENIZER = PlainTokenizer()


def _without_accents(match: re.Match[str]) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", match[0]) if not unicodedata.combining(c))


def plain_words(text: str) -> list[str]:
    """Words for comparing: lower case, no accents, no punctuation, every number `0` (as datatrove
    simplifies)."""
    text = text.lower()
    if not text.isascii():
        text = _ACCENTED.sub(_without_accents, text)
    return _PLAIN.findall(_DIGITS.sub("0", text))


@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    return xxhash.xxh3_64_intdigest(word.encode())


def word_hashes(words: list[str]) -> Hashes:
    """A hash for each word."""
    return np.fromiter(map(_word_hash, words), np.uint64, len(words))


_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def mixed(values: Hashes) -> Hashes:
    """SplitMix64's finaliser (Steele et al. 2014), so that all bits depend on all bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def n_gram_hashes(hashes: Hashes, n: int) -> Hashes:
    """A hash for each n-gram of words, in order; of fewer than n words one, of all of them. Empty of none."""
    if not len(hashes):
        return hashes
    n = min(n, len(hashes))
    count = len(hashes) - n + 1
    total = np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(n):
            total = total * _FACTOR + hashes[offset : offset + count]
        return mixed(total + np.uint64(n))


def shingles(text: str, n: int) -> Hashes:
    """The set of the n-grams of a text, as sorted hashes."""
    return np.unique(n_gram_hashes(word_hashes(plain_words(text)), n))


def jaccard(one: Hashes, other: Hashes) -> float:
    """|A ∩ B| / |A ∪ B| of two sorted sets; 0 where both are empty."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    union = len(one) + len(other) - common
    return common / union if union else 0.0
