"""The items of a data set: for each row the prompt's variables, and the answers that are right."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.prompting.answers import Answer
from workbench.prompting.evaluation.references import references_of
from workbench.prompting.prompt import Prompt
from workbench.prompting.rows import read_rows
from workbench.prompting.validation import did_you_mean


@dataclass(frozen=True)
class DataSet:
    """Which file is read, and what its columns are.

    `columns` gives variables of the prompt the names of their columns, `header` names the columns of a file
    without a header line, `names` are other words for reference answers.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    header: Sequence[str] = ()
    answer: str | None = None
    id: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One row: `row` counts from 0, `digest` tells whether another file's row of the same id is the same.

    `references` is empty where the data set has no answers.
    """

    id: str
    row: int
    where: str
    variables: Mapping[str, Any]
    references: tuple[str, ...]
    digest: str


def read_items(
    data: DataSet,
    prompt: Prompt,
    answer: Answer | None,
    variables: Mapping[str, Any] | None = None,
    first: int | None = None,
) -> list[Item]:
    """The items of a data set, or the `first` of them; `variables` are the same for all.

    Raises `DataError` naming the line that lacks a column, or has no answer of the kind.
    """
    items: list[Item] = []
    ids: dict[str, str] = {}
    given = dict(variables or {})
    needed = [variable.name for variable in prompt.variables if variable.required]
    for number, (row, where) in enumerate(islice(read_rows(data.path, data.header), first)):
        id = str(number) if data.id is None else str(_column(row, data.id, where))
        if id in ids:
            raise DataError(f"the id “{id}” stands twice", where=where, hint=f"the first is at {ids[id]}")
        ids[id] = where
        values = _variables(row, data, given, needed, where)
        references: tuple[str, ...] = ()
        if data.answer is not None and answer is not None:
            references = references_of(_column(row, data.answer, where), answer, data.names, where)
        items.append(Item(id, number, where, values, references, _digest(row)))
    if not items:
        raise DataError("there are no rows in it", where=str(data.path))
    return items


def sampled(items: Sequence[Item], count: int, seed: int) -> list[Item]:
    """So many items at random, in the order of the file. A larger number chooses the same ones and more."""
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    return [items[row] for row in sorted(order[:count])]


def _variables(
    row: Mapping[str, Any], data: DataSet, given: Mapping[str, Any], needed: Sequence[str], where: str
) -> dict[str, Any]:
    """The row's columns, but not the answer, which is nothing that a prompt may show by mistake."""
    values = {
        name: value for name, value in row.items() if value is not None and name not in (data.answer, data.id)
    }
    for variable, column in data.columns.items():
        values[variable] = _column(row, column, where)
    values.update(given)
    for name in needed:
        if name not in values:
            known = [column for column in row if column != data.answer]
            raise DataError(
                f"the prompt needs a value for {name}, and the row has no column of that name",
                where=where,
                hint=f"--columns {name}=COLUMN, where COLUMN is one of {', '.join(known)}; "
                f"or --var {name}=VALUE for all rows",
            )
    return values


def _column(row: Mapping[str, Any], column: str, where: str) -> Any:
    value = row.get(column)
    if value is None:
        raise DataError(
            f"the row has {'nothing in' if column in row else 'no'} column “{column}”",
            where=where,
            hint=did_you_mean(column, row) or f"the columns are {', '.join(row)}",
        )
    return value


def _digest(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
