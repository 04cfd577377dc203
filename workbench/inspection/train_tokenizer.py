"""A tokenizer of any kind and size from the sources of a recipe, and what it gains over the recipe's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import paths
from workbench.data.corpus import Corpus
from workbench.data.pipeline import open_corpus
from workbench.data.special_tokens import STYLES, SpecialTokens
from workbench.data.split import EVAL, TRAIN
from workbench.data.ticker import Ticker
from workbench.data.tokenizer import FILE, train_on, wrapped
from workbench.data.tokenizer_models import MODELS
from workbench.errors import StorageError, UsageError, storage_error
from workbench.inspection.opening import open_tokenizer, recipe_of
from workbench.inspection.tokens import unknown_id

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from workbench.inspection.requests import Progress
    from workbench.recipe import Recipe

MEASURED_CHARACTERS = 2_000_000
"""Text that tokenizers are compared on; more hardly moves the third digit."""

MEASURING = "measuring"
BATCH = 1 << 18
SAMPLE, SAMPLES = 2_000, 20
"""Characters, and texts, that are turned into tokens and back."""

UNKNOWN = "<|unk|>"


def train_tokenizer(
    recipe: Mapping[str, Any], vocab_size: int, output: str, progress: Progress, kind: str = "bpe"
) -> dict[str, Any]:
    """Train on the training documents, save a folder that transformers loads, measure on held-out text.

    Raises `UsageError`, `DataError`, `StorageError`; `ModelError` where the recipe names a tokenizer
    that cannot be loaded.
    """
    checked = recipe_of(recipe)
    if kind not in MODELS:
        raise UsageError(f"there is no kind of tokenizer “{kind}”", hint=f"one of: {', '.join(MODELS)}")
    special = special_tokens(checked.model.family, kind)
    _check_size(vocab_size, kind, special)
    folder = _free_folder(output)
    corpus = open_corpus(checked.data, checked.training.seed, paths.cache_dir(), progress)
    trained = train_on(corpus, vocab_size, special, progress, kind)
    _save(trained, special, folder)
    texts, measured_on = _measured_text(corpus)
    old, old_name = _own(checked, recipe, progress)
    ticker = Ticker(progress, MEASURING, 2 if old is not None else 1)
    new_measure = measure(trained, texts)
    ticker.add(1)
    old_measure = None if old is None else measure(old, texts)
    ticker.finish()
    return {
        "output": str(folder),
        "kind": kind,
        "vocab_size": trained.get_vocab_size(),
        "asked": vocab_size,
        "measured_on": measured_on,
        "num_bytes": sum(len(text.encode()) for text in texts),
        "num_characters": sum(len(text) for text in texts),
        "new": new_measure,
        "old": old_measure,
        "old_name": old_name,
    }


def special_tokens(family: str, kind: str) -> SpecialTokens:
    """Those of a family; WordPiece cannot do without one for unknown words."""
    special = STYLES[family]
    if kind == "wordpiece" and "unk_token" not in special.roles:
        return replace(special, roles={**special.roles, "unk_token": UNKNOWN})
    return special


def _check_size(vocab_size: int, kind: str, special: SpecialTokens) -> None:
    # A byte-level vocabulary holds all bytes; WordPiece should at least hold the letters.
    least = len(special.all) + (256 if kind != "wordpiece" else 64)
    if vocab_size < least:
        raise UsageError(
            f"a vocabulary of {vocab_size:,} is too small", hint=f"{least:,} at least, for {kind}"
        )


def _free_folder(output: str) -> Path:
    folder = Path(output).expanduser().absolute()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StorageError("there is something already", where=str(folder), hint="name a new folder")
    except OSError as error:
        raise storage_error(error, folder) from None
    return folder


def _save(trained: Tokenizer, special: SpecialTokens, folder: Path) -> None:
    """Written beside its place and moved there, so that a folder is whole or not there."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
            file = Path(place) / FILE
            trained.save(str(file))
            wrapped(file, special).save_pretrained(place)
            folder.mkdir(exist_ok=True)
            for part in Path(place).iterdir():
                shutil.move(part, folder / part.name)
    except OSError as error:
        raise storage_error(error, folder) from None


def _own(
    recipe: Recipe, mapping: Mapping[str, Any], progress: Progress
) -> tuple[Tokenizer | None, str | None]:
    """The tokenizer that the recipe has without this one; a task on a new model has none."""
    section = recipe.model
    if recipe.objective.reads_records and not (section.tokenizer_name_or_path or section.model_name_or_path):
        return None, None
    opened = open_tokenizer(mapping, progress)
    return opened.backend, opened.name


def _measured_text(corpus: Corpus) -> tuple[list[str], str]:
    """The first two million characters held out; training text where none is."""
    held_out = _head(corpus, EVAL)
    if held_out:
        return held_out, "held-out text"
    return _head(corpus, TRAIN), "training text"


def _head(corpus: Corpus, side: int) -> list[str]:
    texts, size = list[str](), 0
    for text in _side(corpus, side):
        texts.append(text[: MEASURED_CHARACTERS - size])
        size += len(texts[-1])
        if size >= MEASURED_CHARACTERS:
            break
    return texts


def _side(corpus: Corpus, side: int) -> Iterator[str]:
    for source, number, document in corpus.documents():
        for part, text in corpus.split.parts(source, number, document.text):
            if part == side:
                yield text


def measure(tokenizer: Tokenizer, texts: list[str]) -> dict[str, Any]:
    """`vocab_size`, and of the texts without frames: `tokens`, `bytes_per_token`,
    `unknown_tokens`, `lossless` (whether text comes back from its tokens exactly)."""
    tokens = unknown = 0
    wanted = unknown_id(tokenizer)
    for text in texts:
        # Long texts are encoded in pieces: one of megabytes would take gigabytes.
        parts = [text[start : start + BATCH] for start in range(0, len(text), BATCH)]
        for encoded in tokenizer.encode_batch_fast(parts, add_special_tokens=False):
            tokens += len(encoded.ids)
            unknown += encoded.ids.count(wanted) if wanted is not None else 0
    size = sum(len(text.encode()) for text in texts)
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "tokens": tokens,
        "bytes_per_token": size / tokens if tokens else None,
        "lossless": all(_comes_back(tokenizer, text[:SAMPLE]) for text in texts[:SAMPLES]),
        "unknown_tokens": unknown,
    }


def _comes_back(tokenizer: Tokenizer, text: str) -> bool:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return bool(tokenizer.decode(ids, skip_special_tokens=False) == text)
