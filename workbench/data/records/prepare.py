"""From the data section of a recipe to labelled examples, both sides of the split."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.data.artifact import key_of
from workbench.data.records.dividing import divide
from workbench.data.records.encoding import encode_records
from workbench.data.records.labels import check_labels, label_names, told_of_labels
from workbench.data.records.preference_encoding import CUTS, encode_preferences
from workbench.data.records.preference_store import PreferenceStore
from workbench.data.records.side import SideRecords, num_bytes, read_side
from workbench.data.records.store import ExampleStore
from workbench.data.ticker import TOKENISING, Progress, Ticker
from workbench.errors import DataError
from workbench.recipe import DataSection


@dataclass(frozen=True)
class PreparedRecords:
    """What training on a task needs of the data.

    `key` stands for texts, labels, split, tokens and weights. `report` has the entries of
    `Prepared.report`, and also `truncated` (records cut to the row's length), `unanswered` (those of them of
    which nothing was left to predict: they are left out), `cut_words` (tagging: words
    that were cut with them), `longest` (tokens of a row), for each source `kind` and `why` it is that (and
    of tagging `scheme`, where IOB1 has been turned into IOB2), and what `told_of_labels` says. Of preferences
    `truncated` counts answers, `uninformative` has the numbers of records that prefer nothing, by reason, and
    `preferences` and `eval_preferences` what `PreferenceStore.report` says of each side.
    """

    key: str
    labels: tuple[str, ...]
    tokenizer: Any
    train: ExampleStore | PreferenceStore
    eval: ExampleStore | PreferenceStore
    report: dict[str, Any]


def prepare_records(
    data: DataSection,
    *,
    objective: str,
    tokenizer: Any,
    max_length: int,
    seed: int,
    cache: Path,
    progress: Progress,
) -> PreparedRecords:
    """Read, check, split and tokenise labelled records, in memory: nothing is kept under `cache`.

    Labels are those of the training records, in the order of `label_names`. Held out are the eval sources,
    or `eval_fraction` of the distinct records by their content. Raises `DataError` with file and line for
    what a record lacks.
    """
    began = time.monotonic()
    limit = min(max_length, int(getattr(tokenizer, "model_max_length", max_length)))
    read = read_side(data.sources, objective, progress)
    own = read_side(data.eval_sources, objective, progress)
    train, held_out, dropped, how = divide(read, own, data, objective, seed)
    labels = label_names(train, objective)
    check_labels(held_out, labels, objective)
    stores = [
        _encoded(side, tokenizer, objective, limit, labels, name, progress)
        for side, name in ((train, "train"), (held_out, "eval"))
    ]
    weights = tuple(spec.weight for spec in data.sources)
    stores[0].weights = weights
    size = _bytes(train)
    report: dict[str, Any] = {
        "documents": len(train),
        "tokens": stores[0].num_tokens,
        "bytes": size,
        "bytes_per_token": round(size / max(1, stores[0].num_tokens), 4),
        "eval_documents": len(held_out),
        "eval_tokens": stores[1].num_tokens,
        "eval_bytes": _bytes(held_out),
        "split": how,
        "dropped_from_train": dropped,
        "blank_documents": read.blank + own.blank,
        "invalid_utf8": read.repaired + own.repaired,
        "cut_files": 0,  # a long file of text is cut, one of records never
        "truncated": sum(store.truncated for store in stores),
        "unanswered": sum(store.unanswered for store in stores),
        "cut_words": sum(store.cut_words for store in stores),
        "longest": max((int(store.lengths.max()) for store in stores if len(store)), default=0),
        "vocab_size": len(tokenizer),
        "tokenizer": str(getattr(tokenizer, "name_or_path", "")),
        "sources": read.told,
        "eval_sources": own.told,
        "cached": False,
        "seconds": round(time.monotonic() - began, 3),
        **told_of_labels(train, held_out, objective),
        **_told_of_preferences(stores[0], stores[1], read, own),
    }
    key = key_of([store.digest() for store in stores], labels, limit, weights, stores[0].source_digest())
    return PreparedRecords(key, labels, tokenizer, stores[0], stores[1], report)


def _encoded(
    side: SideRecords,
    tokenizer: Any,
    objective: str,
    limit: int,
    labels: Sequence[str],
    name: str,
    progress: Progress,
) -> ExampleStore | PreferenceStore:
    store: ExampleStore | PreferenceStore
    if objective in CUTS:
        ticker = Ticker(progress, TOKENISING, len(side))
        cut = CUTS[objective]
        store = encode_preferences(side.records, tokenizer, limit, name, ticker, side.places, cut=cut)
        ticker.finish()
        if name == "train" and not len(store):
            raise _nothing_left(store, limit, side.places)
    else:
        store = encode_records(side.records, tokenizer, objective, limit, labels, name, progress, side.places)
    store.sources = np.array(side.sources, np.uint16)[store.examples]
    return store


def _nothing_left(store: PreferenceStore, limit: int, places: Sequence[str]) -> DataError:
    return DataError(
        f"no prompt has two different answers that were ranked apart and fit into {limit:,} tokens: "
        f"{store.too_long:,} answers are too long, {store.empty:,} blank, {store.repeated:,} repeated",
        where=f"{places[0]} and {len(places) - 1:,} more records",
        hint="raise data.max_length" if store.too_long else "look at the records: workbench data show",
    )


def _told_of_preferences(
    train: ExampleStore | PreferenceStore,
    held_out: ExampleStore | PreferenceStore,
    read: SideRecords,
    own: SideRecords,
) -> dict[str, Any]:
    if not (isinstance(train, PreferenceStore) and isinstance(held_out, PreferenceStore)):
        return {}
    return {
        "preferences": train.report(),
        "eval_preferences": held_out.report(),
        "uninformative": dict(read.uninformative + own.uninformative),
        "too_long": train.too_long + held_out.too_long,
        "repeated": train.repeated + held_out.repeated,
        "empty": train.empty + held_out.empty,
        "stripped": train.stripped + held_out.stripped,
    }


def _bytes(side: SideRecords) -> int:
    return sum(num_bytes(record) for record in side.records)
