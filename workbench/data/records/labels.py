"""The labels of a task: those of the training records, in an order that only depends on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from workbench.data.kinds import number_of
from workbench.data.records.side import KINDS_OF, SideRecords, input_hash
from workbench.data.records.texts import Checked
from workbench.errors import DataError

SHOWN = 20
FEW, SHARE = 50, 0.5
"""So many labels may there be in any case; more of them make sense only where most have several records."""


def labels_of(record: Checked, objective: str) -> list[str]:
    """What is to be said of a record, in labels; none for numbers and spans."""
    if objective == "tagging":
        return list(record["tags"])
    return [record["label"]] if objective == "classification" else []


def label_names(side: SideRecords, objective: str) -> tuple[str, ...]:
    """The labels of training records: numbers by value, tags O first and by type, B- before I-, others by
    name.

    Raises `DataError` where there is nothing to choose between, or nearly every record has its own.
    """
    found = {label for record in side.records for label in labels_of(record, objective)}
    if objective == "classification":
        _check_count(found, side)
    numbers = {label: number_of(label) for label in found}
    if None not in numbers.values():
        return tuple(sorted(found, key=lambda label: (numbers[label] or 0.0, label)))
    return tuple(sorted(found, key=_in_scheme if objective == "tagging" else lambda label: (label,)))


def _in_scheme(label: str) -> tuple[Any, ...]:
    return label != "O", label[2:] if label[1:2] == "-" else label, label


def _check_count(found: set[str], side: SideRecords) -> None:
    if len(found) < 2:
        raise DataError(
            f"all training records have the label “{next(iter(found), '')}”",
            where=side.places[0] if side.places else "",
            hint="a classification has at least two labels",
        )
    if len(found) > max(FEW, SHARE * len(side)):
        numeric = all(number_of(label) is not None for label in found)
        raise DataError(
            f"{len(side):,} training records have {len(found):,} different labels",
            where=side.places[0],
            hint="to learn numbers: objective.name=regression"
            if numeric
            else "name the column that holds the label: columns: {label: COLUMN}",
        )


def unknown_label(side: SideRecords, labels: tuple[str, ...], objective: str) -> tuple[int, str] | None:
    """The first record with a label that is not among these, and that label."""
    known = set(labels)
    for number, record in enumerate(side.records):
        for label in labels_of(record, objective):
            if label not in known:
                return number, label
    return None


def check_labels(side: SideRecords, labels: tuple[str, ...], objective: str) -> None:
    """Raise `DataError` where a held-out record has a label that no training record has."""
    found = unknown_label(side, labels, objective) if labels else None
    if found is not None:
        more = f" and {len(labels) - SHOWN:,} more" if len(labels) > SHOWN else ""
        raise DataError(
            f"the held-out label “{found[1]}” is in no training record",
            where=side.places[found[0]],
            hint=f"the labels of the training records are: {', '.join(labels[:SHOWN])}{more}",
        )


def told_of_labels(train: SideRecords, held_out: SideRecords, objective: str) -> dict[str, Any]:
    """`label_counts` of the training records, commonest first (of regression `label_range` and
    `label_mean`); `conflicting_labels`: training records whose text stands there with another label too;
    `majority_accuracy`, of classification: what always answering the commonest label gets of those held out.
    """
    if objective == "span_extraction":
        without = sum(not record["answers"] for record in train.records)
        return {"unanswerable": without}
    if objective in KINDS_OF:
        return {}
    told: dict[str, Any] = {"conflicting_labels": _conflicting(train, objective)}
    if objective == "regression":
        values = [record["label"] for record in train.records]
        return told | {"label_range": [min(values), max(values)], "label_mean": sum(values) / len(values)}
    counts = Counter(label for record in train.records for label in labels_of(record, objective))
    told["label_counts"] = dict(counts.most_common())
    if objective == "classification" and len(held_out):
        commonest = counts.most_common(1)[0][0]
        right = sum(record["label"] == commonest for record in held_out.records)
        told["majority_accuracy"] = right / len(held_out)
    return told


def _conflicting(side: SideRecords, objective: str) -> int:
    seen: dict[int, set[Any]] = {}
    hashes = [input_hash(record) for record in side.records]
    for hashed, record in zip(hashes, side.records, strict=True):
        seen.setdefault(hashed, set()).add(_answer(record, objective))
    return count_of(hashes, {hashed for hashed, answers in seen.items() if len(answers) > 1})


def _answer(record: Checked, objective: str) -> Any:
    return tuple(record["tags"]) if objective == "tagging" else record["label"]


def count_of(hashes: Iterable[int], chosen: set[int]) -> int:
    """How many records have one of these hashes."""
    return sum(hashed in chosen for hashed in hashes)
