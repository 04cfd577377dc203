"""Records that hold what evaluation sets hold: n-grams of words in common (Brown et al. 2020, appendix C)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import orjson

from workbench.data.cleaning.items import TEXT_COLUMNS, Item
from workbench.data.cleaning.layout import read_array, write_array, write_json
from workbench.data.cleaning.verdicts import KEPT, Step, Verdict, changed, dropped
from workbench.data.cleaning.words import TOKENIZER, Hashes, n_gram_hashes, plain_words, word_hashes
from workbench.data.records.reading import Record, RecordSource
from workbench.errors import DataError
from workbench.recipe.cleaning.content import DecontaminationStep

SHOWN = 160
NUMBER = word_hashes(["0"])[0]
"""What every number is in plain words."""


def build_index(settings: DecontaminationStep, folder: Path) -> None:
    """Read the evaluation sets once, and write the hashes that the step looks for.

    A text of at least `n_grams` words gives all its n-grams, one of fewer, but at least `min_words`, itself.
    Raises `DataError` where a set cannot be read or holds nothing to look for.
    """
    hashes: list[Hashes] = []
    owners: list[Any] = []
    lengths: list[Any] = []
    names: list[str] = []
    texts: list[str] = []
    for spec in settings.eval_sources:
        source, before = RecordSource.find(spec), len(texts)
        for record in source.records():
            for text in _texts(record):
                words = word_hashes(plain_words(text))
                if len(words) < settings.min_words:
                    continue
                grams = np.unique(
                    n_gram_hashes(words, settings.n_grams)[_says_something(words, settings.n_grams)]
                )
                hashes.append(grams)
                owners.append(np.full(len(grams), len(texts), np.int64))
                lengths.append(np.full(len(grams), min(len(words), settings.n_grams), np.int32))
                names.append(f"{record.where}")
                texts.append(text[:SHOWN])
        if len(texts) == before:
            raise DataError(
                f"no text of the evaluation set has {settings.min_words} words: nothing to look for",
                where=spec.path,
                hint="name its columns, as columns: {prompt: question}, or lower decontamination.min_words",
            )
    folder.mkdir(parents=True, exist_ok=True)
    found, owner, length = np.concatenate(hashes), np.concatenate(owners), np.concatenate(lengths)
    order = np.argsort(found, kind="stable")
    found, owner, length = found[order], owner[order], length[order]
    unique, first, counts = np.unique(found, return_index=True, return_counts=True)
    rare = counts <= settings.max_items
    write_array(folder / "hashes.npy", unique[rare])
    write_array(folder / "owners.npy", owner[first][rare])
    write_array(folder / "lengths.npy", length[first][rare])
    write_json(folder / "items.json", {"names": names, "texts": texts})


def _says_something(words: Hashes, n: int) -> npt.NDArray[np.bool_]:
    """Which n-grams are not mostly numbers: these are one word all, and rows of them are in any table."""
    n = min(n, len(words))
    before = np.concatenate([[0], np.cumsum(words == NUMBER)])
    wordy: npt.NDArray[np.bool_] = (before[n:] - before[:-n]) * 2 <= n
    return wordy


def _texts(record: Record) -> list[str]:
    """All texts of a record of an evaluation set, whatever its kind: of known columns, else every string in
    it."""
    for kind, columns in TEXT_COLUMNS.items():
        if kind != "text" and all(column in record.values for column in columns):
            return Item(record.values, kind).texts
    return [value for value in record.values.values() if isinstance(value, str)]


class Decontamination(Step):
    """Drops records, or cuts out sentences, that share an n-gram with an evaluation set."""

    name: ClassVar[str] = "decontamination"

    def __init__(self, settings: DecontaminationStep, index: Path) -> None:
        self.settings = settings
        self.hashes: Any = read_array(index / "hashes.npy")
        self.owners: Any = read_array(index / "owners.npy")
        lengths: Any = read_array(index / "lengths.npy")
        self.sizes = sorted({int(size) for size in np.unique(lengths)}, reverse=True)
        items = orjson.loads((index / "items.json").read_bytes())
        self.names, self.texts = items["names"], items["texts"]

    def judge(self, item: Item) -> Verdict:
        found = self._owner(item.text)
        if found is None:
            return KEPT
        told = {"set": self.names[found], "text": self.texts[found]}
        if self.settings.action == "drop" or not item.can_change:
            return dropped("contaminated", **told)
        item.edit(self._cut)
        if not item.text.strip() or self._owner(item.text) is not None:
            return dropped("contaminated", **told)
        return changed("contaminated", **told)

    def _owner(self, text: str) -> int | None:
        """The evaluation text that a text shares an n-gram with; the first that it meets."""
        words = word_hashes(plain_words(text))
        for size in self.sizes:
            if len(words) < size:
                continue
            grams = n_gram_hashes(words, size)
            place = np.searchsorted(self.hashes, grams)
            place[place == len(self.hashes)] = 0
            hits = np.flatnonzero(self.hashes[place] == grams)
            if len(hits):
                return int(self.owners[place[hits[0]]])
        return None

    def _cut(self, text: str) -> str:
        """The text without the sentences that hold any part of what is shared."""
        spans = TOKENIZER.span_tokenize(text)
        kept = [True] * len(spans)
        for begin in range(len(spans)):
            # The shortest run of sentences from here on that still holds an n-gram of the sets.
            for end in range(begin + 1, min(len(spans), begin + 8) + 1):
                if self._owner(text[spans[begin][0] : spans[end - 1][1]]) is not None:
                    if (
                        self._owner(text[spans[begin + 1][0] : spans[end - 1][1]] if begin + 1 < end else "")
                        is None
                    ):
                        kept[begin:end] = [False] * (end - begin)
                    break
        return "".join(text[a:b] for (a, b), keep in zip(spans, kept, strict=True) if keep)
