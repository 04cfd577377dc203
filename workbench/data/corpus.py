"""The sources of a recipe, scanned and split: what the tokenizer is trained on and what is tokenised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from workbench.data.artifact import key_of
from workbench.data.documents import Document, Tally
from workbench.data.scan import Scan, text_hash
from workbench.data.sources import Source
from workbench.data.split import TRAIN, Split, own_sources, split_sources, uniform
from workbench.errors import DataError

TOKENIZER_BYTES = 50_000_000
"""A vocabulary learnt from this much text hardly changes with more."""


@dataclass(frozen=True)
class Corpus:
    """Sources and what the scan found in them: first the `num_train` training ones, then those held out."""

    sources: Sequence[Source]
    scans: Sequence[Scan]
    num_train: int
    eval_fraction: float
    seed: int

    @property
    def key(self) -> str:
        """Stands for all texts and for which of them are held out."""
        own = len(self.sources) > self.num_train
        how = [] if own or not self.eval_fraction else [self.eval_fraction, self.seed]
        return key_of([scan.digest for scan in self.scans], self.num_train, how)

    @cached_property
    def split(self) -> Split:
        """Which documents are held out. Raises `DataError` when none are left to train on."""
        hashes = [scan.hashes() for scan in self.scans]
        if len(self.sources) == self.num_train:
            return split_sources(hashes, self.eval_fraction, self.seed)
        split = own_sources(hashes[: self.num_train], hashes[self.num_train :])
        if not any((sides == TRAIN).any() for sides in split.sides):
            raise DataError(
                "every training document is also in the held-out ones",
                where=", ".join(source.spec.path for source in self.sources[self.num_train :]),
                hint="name other text as data.eval_sources",
            )
        return split

    def place(self, source: int) -> int:
        """Which entry of the recipe a source is: of `sources`, or, behind those, of `eval_sources`."""
        return source if source < self.num_train else source - self.num_train

    def documents(self) -> Iterator[tuple[int, int, Document]]:
        """All documents, with the numbers of their source and of themselves in it.

        Raises `DataError` when a text is not what the scan saw.
        """
        for index, (source, scan) in enumerate(zip(self.sources, self.scans, strict=True)):
            hashes = scan.hashes()
            count = 0
            for document in source.documents(Tally()):
                if count >= scan.documents or text_hash(document.raw) != int(hashes[count]):
                    raise _changed(document.where)
                yield index, count, document
                count += 1
            if count != scan.documents:
                raise _changed(source.spec.path)

    def training_bytes(self) -> int:
        """The UTF-8 bytes of the training documents, held-out tails included."""
        pairs = zip(self.scans, self.split.sides, strict=True)
        return sum(int(scan.lengths()[sides == TRAIN].sum()) for scan, sides in pairs)

    def tokenizer_texts(self) -> Iterator[str]:
        """Training text for a tokenizer: all of it, or an even sample of about `TOKENIZER_BYTES`."""
        share = min(1.0, TOKENIZER_BYTES / max(1, self.training_bytes()))
        by_document = share < 1 and self.split.how != "tail of each document"
        # Other draws than the split's, or the sample would lean to one side of them.
        draws = [uniform(scan.hashes(), self.seed + 1) if by_document else None for scan in self.scans]
        for source, number, document in self.documents():
            drawn = draws[source]
            if drawn is not None and drawn[number] >= share:
                continue
            for side, text in self.split.parts(source, number, document.text):
                if side == TRAIN:
                    yield text if by_document else text[: int(len(text) * share)]


def _changed(where: str) -> DataError:
    return DataError(
        "the text changed while it was being read", where=where, hint="start again when it is done"
    )
