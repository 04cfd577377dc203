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


# In the order in which they are tried: what asks for more columns comes before what asks for fewer, so
# that, say, `prompt`, `completion` and `label` are feedback and not a prompt with a completion.
KINDS: tuple[Kind, ...] = (
    Kind("span_extraction", ("question", "context", "answers"), (), "the span of a context that answers"),
    Kind("ranking", ("prompt", "completions", "ranks"), ("tools",), "several answers in an order"),
    Kind("preference", ("chosen", "rejected"), ("prompt", "tools", "margin"), "the better of two answers"),
    Kind("binary_feedback", ("prompt", "completion", "label"), (), "an answer that was liked or not"),
    Kind("prompt_completion", ("prompt", "completion"), (), "a prompt and its answer"),
    Kind("conversation", ("messages",), ("tools",), "turns of a conversation"),
    Kind("prompt", ("prompt",), ("tools",), "a prompt to be answered"),
    Kind("tagging", ("tokens", "tags"), (), "a tag for each word"),
    Kind("regression", ("text", "label"), ("text_pair",), "a number for a text or a pair"),
    Kind("classification", ("text", "label"), ("text_pair",), "a label for a text or a pair"),
    Kind("text", ("text",), (), "running text"),
)
BY_NAME = {kind.name: kind for kind in KINDS}

OFTEN_CALLED: dict[str, tuple[str, ...]] = {
    "text": ("sentence", "sentence1", "content", "premise", "review", "body", "document"),
    "text_pair": ("sentence2", "hypothesis", "question2"),
    "label": ("labels", "class", "category", "sentiment", "score", "stars", "rating", "similarity_score"),
    "tokens": ("words",),
    "tags": ("ner_tags", "pos_tags", "chunk_tags", "labels"),
    "prompt": ("question", "instruction", "query", "problem"),
    "completion": ("answer", "response", "output", "solution", "target"),
    "completions": ("responses", "candidates", "generations"),
    "ranks": ("ranking", "rank"),
    "chosen": ("preferred", "better"),
    "rejected": ("dispreferred", "worse"),
    "messages": ("conversation", "dialog", "dialogue", "turns"),
    "context": ("passage", "paragraph"),
}
"""What the columns are called in widespread data sets: proposed in hints, never taken on their own."""


@dataclass(frozen=True)
class Detected:
    """The kind of some records, in one sentence why, and which columns it uses."""

    kind: str
    why: str
    columns: tuple[str, ...]


def fits(columns: Sequence[str] | Mapping[str, Any]) -> bool:
    """Whether some kind can be made of these columns."""
    return any(all(column in columns for column in kind.needs) for kind in KINDS)


def detect(columns: Sequence[str], samples: Sequence[Mapping[str, Any]], where: str = "") -> Detected:
    """The kind that records with these columns are of: the first of `KINDS` whose columns are all there.

    `samples` are the first records: of a text and a label, labels that are all numbers, one of them with a
    fraction, make a regression, and all others a classification. Raises `DataError`, listing the kinds,
    when the columns fit none.
    """
    for kind in KINDS:
        if all(column in columns for column in kind.needs):
            if kind.name == "regression" and not _has_fractions(samples):
                continue
            used = (*kind.needs, *(column for column in kind.may if column in columns))
            return Detected(kind.name, _why(kind, used), used)
    raise no_kind(columns, where)


def _why(kind: Kind, used: Sequence[str]) -> str:
    why = f"it has the column{'s' * (len(used) > 1)} {in_words(used)}: {kind.purpose}"
    if kind.name == "regression":
        why += "; its labels are numbers with fractions"
    elif kind.name == "classification":
        why += "; its labels are names or whole numbers"
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
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number - number == 0 else None


def in_words(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def check(kind: str, columns: Sequence[str], where: str) -> None:
    """Raise `DataError` when records with these columns are not of a kind that was named."""
    missing = [column for column in BY_NAME[kind].needs if column not in columns]
    if missing:
        raise DataError(
            f"records of the kind {kind} need the column{'s' * (len(missing) > 1)} {in_words(missing)}; "
            f"there are {', '.join(columns) or 'none'}",
            where=where,
            hint=f"name in the recipe what holds {'it' if len(missing) == 1 else 'them'}: "
            f"columns: {{{_renaming(BY_NAME[kind], columns)}}}",
        )


def no_kind(columns: Sequence[str], where: str) -> DataError:
    """The error for columns that fit no kind: what the nearest lacks, and all kinds."""
    nearest = max(KINDS, key=lambda kind: _nearness(kind, columns))
    missing = [column for column in nearest.needs if column not in columns]
    kinds = "; ".join(f"{kind.name} ({', '.join(kind.needs)})" for kind in KINDS)
    return DataError(
        f"the columns {', '.join(columns) or '(none)'} fit no kind of record; "
        f"the nearest is {nearest.name}, which lacks {in_words(missing)}",
        where=where,
        hint=f"rename columns in the recipe, for example columns: {{{_renaming(nearest, columns)}}}; "
        f"the kinds are: {kinds}",
    )


def _nearness(kind: Kind, columns: Sequence[str]) -> float:
    """The share of a kind's columns that are there; those that may be there by another name count half."""
    found = sum(1.0 if need in columns else 0.5 * (_likely(need, columns) is not None) for need in kind.needs)
    return found / len(kind.needs)


def _likely(need: str, columns: Sequence[str]) -> str | None:
    """A column that probably holds what `need` means."""
    lowered = {column.lower(): column for column in reversed(columns)}
    names = (need, *OFTEN_CALLED.get(need, ()))
    return next((lowered[name] for name in names if name in lowered), None)


def _renaming(kind: Kind, columns: Sequence[str]) -> str:
    """What `columns` could say: likely columns, and COLUMN where none is."""
    missing = [need for need in kind.needs if need not in columns]
    return ", ".join(f"{need}: {_likely(need, columns) or 'COLUMN'}" for need in missing)
