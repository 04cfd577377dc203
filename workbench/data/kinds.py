"""Kinds of records: which columns make which, what is found in a file, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import DataError


@dataclass(frozen=True)
class Kind:
    """One kind: the columns it must have, those it may have, and what it is for."""

    name: str
    needs: tuple[str, ...]
    may: tuple[str, ...]
    purpose: str


# In the order in which they are tried: what asks for more columns comes before what asks for fewer.
KINDS: tuple[Kind, ...] = (
    Kind("span_extraction", ("question", "context", "answers"), (), "the span of a context that answers"),
    Kind("ranking", ("prompt", "completions", "ranks"), (), "several answers in an order"),
    Kind("preference", ("prompt", "chosen", "rejected"), ("margin",), "the better of two answers"),
    Kind("binary_feedback", ("prompt", "completion", "label"), (), "an answer that was liked or not"),
    Kind("prompt_completion", ("prompt", "completion"), (), "a prompt and its answer"),
    Kind("conversation", ("messages",), ("tools",), "turns of a conversation"),
    Kind("tagging", ("tokens", "tags"), (), "a tag for each word"),
    Kind("regression", ("text", "label"), ("text_pair",), "a number for a text or a pair"),
    Kind("classification", ("text", "label"), ("text_pair",), "a label for a text or a pair"),
    Kind("text", ("text",), (), "running text"),
)
BY_NAME = {kind.name: kind for kind in KINDS}

ALSO = {
    "conversations": "conversation",
    "instruction": "prompt_completion",
}
"""Columns of other programs' dialects, ShareGPT and Alpaca, and the kind they are read as."""


@dataclass(frozen=True)
class Detected:
    """The kind of some records, in one sentence why, and which columns it uses."""

    kind: str
    why: str
    columns: tuple[str, ...]


def detect(columns: Sequence[str], samples: Sequence[Mapping[str, Any]], where: str) -> Detected:
    """The kind that records with these columns are of.

    `samples` are the first records: a label that is a number with a fraction makes a regression of what
    would be a classification. Raises `DataError`, listing the kinds, when the columns fit none.
    """
    for kind in KINDS:
        if all(column in columns for column in kind.needs):
            if kind.name == "regression" and not _has_fractions(samples):
                continue
            used = (*kind.needs, *(column for column in kind.may if column in columns))
            return Detected(kind.name, _why(kind, used), used)
    for column, name in ALSO.items():
        if column in columns:
            return Detected(name, f"it has the column {column}, which other programs write for it", (column,))
    raise no_kind(columns, where)


def _why(kind: Kind, used: Sequence[str]) -> str:
    why = f"it has the columns {', '.join(used)}: {kind.purpose}"
    if kind.name == "regression":
        why += ", and labels with fractions"
    return why


def _has_fractions(samples: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every label is a number and at least one is not whole."""
    labels = [sample.get("label") for sample in samples]
    numbers = [number_of(label) for label in labels if label is not None]
    return bool(numbers) and None not in numbers and any(n is not None and n != int(n) for n in numbers)


def number_of(value: Any) -> float | None:
    """A value as a finite number, or None."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number - number == 0 else None


def check(kind: str, columns: Sequence[str], where: str) -> None:
    """Raise `DataError` when records with these columns are not of a kind that was named."""
    missing = [column for column in BY_NAME[kind].needs if column not in columns]
    if missing:
        raise DataError(
            f"records of the kind {kind} need the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"there are {', '.join(columns) or 'none'}",
            where=where,
            hint=f"name the column that holds it, for example: columns: {{{missing[0]}: "
            f"{next(iter(columns), 'COLUMN')}}}",
        )


def no_kind(columns: Sequence[str], where: str) -> DataError:
    """The error for columns that fit no kind: what the nearest lacks, and all kinds."""
    nearest = max(KINDS, key=lambda kind: sum(column in columns for column in kind.needs) / len(kind.needs))
    missing = [column for column in nearest.needs if column not in columns]
    kinds = "; ".join(f"{kind.name} ({', '.join(kind.needs)})" for kind in KINDS)
    return DataError(
        f"the columns {', '.join(columns) or '(none)'} fit no kind of record; "
        f"the nearest is {nearest.name}, which lacks {', '.join(missing)}",
        where=where,
        hint=f"rename them with columns, for example columns: {{{missing[0]}: "
        f"{next(iter(columns), 'COLUMN')}}}; the kinds are: {kinds}",
    )
