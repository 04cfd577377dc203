"""From the data section of a recipe to tokens on disk, in one call; the second time in an instant."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.data.artifact import build_once, key_of, read_meta, write_meta
from workbench.data.corpus import Corpus
from workbench.data.encode import set_threads, write_tokens
from workbench.data.framing import frame_for
from workbench.data.scan import scan
from workbench.data.sources import find_source
from workbench.data.ticker import Progress
from workbench.data.token_store import TokenStore, is_whole, token_dtype
from workbench.data.tokenizer import Encoder, load_tokenizer, train_tokenizer
from workbench.recipe import DataSection, SourceSpec

VERSION = 1


@dataclass(frozen=True)
class Prepared:
    """What training needs of the data: the tokenizer, both sides of the split, and what to tell about them.

    `key` stands for texts, split, tokenizer and weights: with the same key and seed, and rows of the same
    length, every row is the same.
    `report` holds plain JSON values:
    `documents`, `tokens`, `bytes`, `bytes_per_token` of the training side; `eval_documents`,
    `eval_tokens`, `eval_bytes`; `split` ("none", "by document", "tail of each document", "own sources");
    `dropped_from_train` (also in the held-out text), `blank_documents`, `invalid_utf8` (documents with
    halves of surrogate pairs, replaced), `cut_files` (long text files made into several documents);
    `vocab_size` (actual), `tokenizer` ("trained" or its name), `sources` and `eval_sources` (one mapping
    each with `path`, `weight`, `documents`, `bytes`), `cached` and `seconds`.
    """

    key: str
    tokenizer: Any
    train: TokenStore
    eval: TokenStore
    report: dict[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """None: running text has no labels."""
        return ()


def prepare(
    data: DataSection,
    *,
    tokenizer_name_or_path: str | None,
    model_name_or_path: str | None,
    revision: str | None,
    trust_remote_code: bool,
    vocab_size: int,
    seed: int,
    cache: Path,
    progress: Progress,
    family: str = "llama",
    objective: str = "clm",
) -> Prepared:
    """Read, split and tokenise the sources of `data`, or map what an earlier call left under `cache`.

    A new tokenizer gets the special tokens of `family`; texts are framed as `objective` reads them.
    `progress(what, done, total)` hears about it four times a second, in bytes of text. Several processes
    may call this at once: one works, the others wait. Raises `DataError`, `ModelError`, `StorageError`.
    """
    began = time.monotonic()
    set_threads(data.num_workers)
    corpus = open_corpus(data, seed, cache, progress)
    name = tokenizer_name_or_path or model_name_or_path
    if name:
        own = None if tokenizer_name_or_path else revision
        tokenizer = load_tokenizer(name, revision=own, trust_remote_code=trust_remote_code)
    else:
        tokenizer = train_tokenizer(
            corpus, vocab_size=vocab_size, cache=cache, progress=progress, family=family
        )
    encoder = Encoder(tokenizer, frame_for(objective, tokenizer))
    dtype = token_dtype(encoder.largest_id).name
    target = (
        cache
        / "tokens"
        / key_of(VERSION, corpus.key, encoder.key, encoder.frame.prefix, encoder.frame.suffix)
    )

    def build(folder: Path) -> None:
        sizes = write_tokens(folder, corpus, encoder, progress)
        write_meta(folder, {**sizes, "split": corpus.split.how, "dropped": corpus.split.dropped})

    def is_sound(folder: Path) -> bool:
        meta: dict[str, Any] | None = read_meta(folder)
        return meta is not None and all(
            is_whole(folder / side, meta[side]["tokens"], dtype) for side in ("train", "eval")
        )

    built = build_once(target, build, is_sound, progress)
    meta = read_meta(target) or {}
    report = _report(corpus, meta, data) | {
        "tokenizer": name or "trained",
        "vocab_size": len(tokenizer),
        "cached": not built,
        "seconds": round(time.monotonic() - began, 3),
    }
    weights = [spec.weight for spec in data.sources]
    train = TokenStore(target / "train", "train", dtype, weights)
    held_out = TokenStore(
        target / "eval", "eval", dtype, [1.0] * max(len(data.sources), len(data.eval_sources))
    )
    return Prepared(key_of(target.name, weights), tokenizer, train, held_out, report)


def open_corpus(data: DataSection, seed: int, cache: Path, progress: Progress) -> Corpus:
    """The sources of `data`, found and scanned. Raises `DataError`."""
    # All are looked for before any is read: a misspelt second name shows at once.
    sources = [find_source(spec) for spec in (*data.sources, *data.eval_sources)]
    scans = [scan(source, cache, progress) for source in sources]
    return Corpus(sources, scans, len(data.sources), data.eval_fraction, seed)


def _report(corpus: Corpus, meta: dict[str, Any], data: DataSection) -> dict[str, Any]:
    train, held_out = meta["train"], meta["eval"]
    tallies = [scan.tally for scan in corpus.scans]
    seen = [(scan.documents, scan.num_bytes) for scan in corpus.scans]

    def per_source(specs: Sequence[SourceSpec], found: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        return [
            {"path": spec.path, "weight": spec.weight, "documents": documents, "bytes": size}
            for spec, (documents, size) in zip(specs, found, strict=True)
        ]

    return {
        **train,
        "bytes_per_token": round(train["bytes"] / max(1, train["tokens"]), 4),
        **{f"eval_{name}": value for name, value in held_out.items()},
        "split": meta["split"],
        "dropped_from_train": meta["dropped"],
        "blank_documents": sum(tally.blank for tally in tallies),
        "invalid_utf8": sum(tally.repaired for tally in tallies),
        "cut_files": sum(tally.cut_files for tally in tallies),
        "sources": per_source(data.sources, seen[: corpus.num_train]),
        "eval_sources": per_source(data.eval_sources, seen[corpus.num_train :]),
    }
