"""Where rows come from: for a person who wants to see what broke a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.data.epoch_rows import EpochRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workbench.objectives import Rows

ROWS_TOLD, DOCUMENTS_TOLD = 64, 8
"""Rows of which it is said where they come from, and documents of each."""
EXCERPT_TOKENS, EXCERPT_CHARACTERS = 48, 160
INNER = ("packed", "source", "rows")
"""Under which names an objective's rows hold those that they are made of."""


def origins(rows: Rows, start: int, end: int, tokenizer: Any, sources: list[str]) -> list[dict[str, Any]]:
    """Of the first rows from `start` to before `end`: number, epoch, documents or records, sources, and how
    the row begins. What an objective's rows do not tell is left out."""
    return [_origin(rows, number, tokenizer, sources) for number in range(start, min(end, start + ROWS_TOLD))]


def _origin(rows: Rows, number: int, tokenizer: Any, sources: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"row": number}
    inner = innermost(rows)
    if isinstance(inner, EpochRows):
        epoch, index = inner.locate(number)
        documents = inner.documents_of(epoch, index)
        found |= {"epoch": epoch, "index": index, "documents": documents[:DOCUMENTS_TOLD]}
        found["sources"] = _named(inner.store.sources[np.asarray(documents, np.int64)], sources)
    else:
        found |= _records(inner, number, sources)
    ids = rows.batch(number, 1).arrays.get("input_ids")
    if ids is not None:
        found["begins"] = _excerpt(tokenizer, ids.reshape(-1)[:EXCERPT_TOKENS].tolist())
    return found


def _records(rows: Any, number: int, sources: list[str]) -> dict[str, Any]:
    """The same where rows are made of labelled records."""
    if hasattr(rows, "members_of"):
        store, members = rows.rows.store, rows.members_of(number)
    elif hasattr(rows, "indices") and hasattr(rows, "store"):
        store, members = rows.store, [int(index) for index in rows.indices(number, 1)]
    else:
        return {}
    # Stores of labelled records and of preferences say the same by the same names.
    if not members or not hasattr(store, "examples"):
        return {}
    found: dict[str, Any] = {"records": [int(store.examples[member]) for member in members[:DOCUMENTS_TOLD]]}
    if getattr(store, "sources", None) is not None:
        found["sources"] = _named(store.sources[members], sources)
    return found


def innermost(rows: Any) -> Any:
    """The rows that know their documents or records; others are wrapped around them."""
    for _ in range(4):
        if isinstance(rows, EpochRows) or hasattr(rows, "indices") or hasattr(rows, "members_of"):
            return rows
        inner = next((getattr(rows, name) for name in INNER if hasattr(rows, name)), None)
        if inner is None or callable(inner):
            return rows
        rows = inner
    return rows


def _named(numbers: Iterable[Any], sources: list[str]) -> list[str]:
    """The sources of a recipe by their places in it, each once."""
    wanted = dict.fromkeys(int(number) for number in numbers)
    return [sources[number] if number < len(sources) else f"source {number}" for number in wanted]


def _excerpt(tokenizer: Any, ids: list[int]) -> str:
    """The text of a few tokens, on one line."""
    text = " ".join(str(tokenizer.decode(ids, skip_special_tokens=True)).split())
    return text[:EXCERPT_CHARACTERS]
