"""Examples to demonstrate with: rows of a file, or mappings in a prompt, under the names of their columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from workbench.errors import DataError, PromptError
from workbench.prompting.prompts import prompt_roots
from workbench.prompting.rows import SUFFIXES, read_rows
from workbench.prompting.validation import did_you_mean
from workbench.recipe.section import Section

_CALCULATION = re.compile(r"<<(?=\S)[^<>\n]*(?<=\S)>>")
_RESULT = re.compile(r"(?:\A|\n)[ \t]*####[ \t]*([^\n]*)\s*\Z")


@dataclass(frozen=True)
class Example:
    """One solved input. `row` counts from 0; `rationale` is the way to the answer, or empty."""

    row: int
    id: str
    question: str
    answer: str
    rationale: str
    columns: Mapping[str, Any]


class Columns(Section):
    """In which columns an example has its parts."""

    question: str = Field("question", description="The bare input.")
    answer: str = Field(
        "answer", description="The answer. One that ends in `#### 24` is a rationale and its answer."
    )
    rationale: str | None = Field(None, description="The way to the answer, where it has its own column.")
    id: str | None = Field(None, description="What tells an example from all others. Empty: its row, from 0.")


def read_examples(name: str, columns: Columns, header: Sequence[str] = ()) -> list[Example]:
    """The examples of a JSONL, CSV, TSV or Parquet file, looked for here and beside the prompts.

    `header` names the columns of a file without a header line. Raises `PromptError` where there is no such
    file, `DataError` naming the line that cannot be read.
    """
    path = find_file(name)
    return list(as_examples(read_rows(path, header), columns, str(path)))


def find_file(name: str) -> Path:
    """A file of examples, relative to the current folder or to one with prompts. Raises `PromptError`."""
    path = Path(name).expanduser()
    if path.suffix not in SUFFIXES:
        raise PromptError(f"“{name}” is no file of examples", hint=f"a name ends in {', '.join(SUFFIXES)}")
    for candidate in (path, *(root / path for root, _ in prompt_roots())):
        if candidate.is_file():
            return candidate
    raise PromptError(
        "no such file of examples", where=str(path), hint="give its full path, or put it beside your prompts"
    )


def as_examples(
    rows: Iterable[tuple[Mapping[str, Any], str]], columns: Columns, where: str
) -> Iterator[Example]:
    """Rows, each with where it stands, as examples. Raises `DataError` for one that lacks a column."""
    number = -1
    for number, (row, place) in enumerate(rows):
        question, answer = _text(row, columns.question, place), _text(row, columns.answer, place)
        rationale, answer = split_rationale(answer)
        if columns.rationale not in (None, columns.answer):
            rationale = _text(row, str(columns.rationale), place)
        id = str(number) if columns.id is None else _text(row, columns.id, place)
        yield Example(number, id, question, answer, rationale, row)
    if number < 0:
        raise DataError("there are no examples in it", where=where)


def split_rationale(answer: str) -> tuple[str, str]:
    """The rationale and the answer of a text that ends in `#### answer`, as GSM8K has it, without the
    calculator's marks; no rationale where nothing is marked (Cobbe et al. 2021)."""
    found = _RESULT.search(answer)
    if found is None:
        return "", answer.strip()
    return _CALCULATION.sub("", answer[: found.start()]).strip(), found[1].strip()


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    if column not in row:
        known = [str(name) for name in row]
        raise DataError(
            f"there is no column “{column}”",
            where=where,
            hint=did_you_mean(column, known) or f"the columns are {', '.join(known)}",
        )
    value = row[column]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
