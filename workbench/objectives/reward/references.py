"""Answers written by people, which are to score 0 on average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.data.records.answers import Renderer
from workbench.data.records.side import read_side
from workbench.errors import DataError
from workbench.recipe import SourceSpec

MOST = 128
"""References that are scored: the mean of so many is known to a tenth of their spread."""


def reference_rows(sources: Sequence[SourceSpec], tokenizer: Any, max_length: int) -> list[list[int]]:
    """Tokens of the references, each up to the end of what the assistant says last, evenly chosen from all.

    Those that do not fit are left out. Raises `DataError` where none does.
    """
    side = read_side(sources, "sft", lambda *_: None)
    step, render = max(1, -(-len(side) // MOST)), Renderer(tokenizer)
    found = []
    for record, place in zip(side.records[::step], side.places[::step], strict=True):
        rendered = render(record, place)
        ids = rendered.ids[: len(rendered.supervised) - rendered.supervised[::-1].index(True)]
        if len(ids) <= max_length:
            found.append(ids)
    if not found:
        raise DataError(
            f"no reference fits into {max_length:,} tokens",
            where=", ".join(spec.path for spec in sources),
            hint="raise data.max_length, or name other objective.reference_sources",
        )
    return found
