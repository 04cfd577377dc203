"""The second pass: documents into token files, both sides of the split at once."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from workbench.data.corpus import Corpus
from workbench.data.split import EVAL, TRAIN
from workbench.data.ticker import TOKENISING, Progress, Ticker
from workbench.data.token_store import TokenWriter, token_dtype
from workbench.data.tokenizer import CUT, Encoder

BATCH = 1 << 19
"""Characters encoded at once: about a sixth of a second on two cores, so memory is small."""

PIECE = 1 << 15
"""A longer text is encoded in pieces of about this size, on all cores, where that changes no token."""


@dataclass
class _Text:
    """A document, or its head or tail, on its way to the tokenizer."""

    side: int
    source: int
    num_bytes: int
    pieces: list[str]


@dataclass
class _Batch:
    texts: list[_Text] = field(default_factory=list)
    size: int = 0


def set_threads(count: int | None) -> None:
    """Let the tokenizer use `count` threads; without effect once it has started its own."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if count:
        os.environ["RAYON_NUM_THREADS"] = str(count)


def write_tokens(
    folder: Path, corpus: Corpus, encoder: Encoder, progress: Progress
) -> dict[str, dict[str, int]]:
    """Fill `folder/train` and `folder/eval`; returns documents, tokens and bytes of each."""
    split = corpus.split
    ticker = Ticker(progress, TOKENISING, sum(scan.num_bytes for scan in corpus.scans))
    dtype = token_dtype(encoder.largest_id)
    in_pieces = encoder.may_cut()
    with ExitStack() as stack:
        train = stack.enter_context(TokenWriter(folder / "train", dtype))
        held_out = stack.enter_context(TokenWriter(folder / "eval", dtype))
        writers = {TRAIN: train, EVAL: held_out}
        batch = _Batch()
        for source, number, document in corpus.documents():
            for side, text in split.parts(source, number, document.text):
                size = len(document.raw) if len(text) == len(document.text) else len(text.encode())
                parts = pieces(text) if in_pieces else [text]
                batch.texts.append(_Text(side, corpus.place(source), size, parts))
                batch.size += len(text)
            ticker.add(len(document.raw))
            if batch.size >= BATCH:
                _write(batch, encoder, writers)
                batch = _Batch()
        _write(batch, encoder, writers)
        ticker.finish()
        return {"train": train.size, "eval": held_out.size}


def pieces(text: str) -> list[str]:
    """Cut a long text between lines or words, at the first `CUT` after each `PIECE` characters."""
    parts, start = [], 0
    while len(text) - start > 2 * PIECE:
        found = CUT.search(text, start + PIECE)
        if found is None:
            break
        parts.append(text[start : found.start()])
        start = found.start()
    return [*parts, text[start:]]


def _write(batch: _Batch, encoder: Encoder, writers: dict[int, TokenWriter]) -> None:
    encoded = iter(encoder.encode([piece for text in batch.texts for piece in text.pieces]))
    prefix, suffix = encoder.frame.prefix, encoder.frame.suffix
    for text in batch.texts:
        ids = [token for _ in text.pieces for token in next(encoded)]
        if ids:
            writers[text.side].add([*prefix, *ids, *suffix], text.source, text.num_bytes)
