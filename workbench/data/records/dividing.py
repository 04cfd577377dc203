"""Which records are held out: decided by their text, so equal ones are on one side, and always the same."""

from __future__ import annotations

import numpy as np

from workbench.data.records.labels import labels_of
from workbench.data.records.side import SideRecords, input_hash
from workbench.data.split import How, uniform
from workbench.errors import DataError
from workbench.recipe import DataSection


def divide(
    train: SideRecords, held_out: SideRecords, data: DataSection, objective: str, seed: int
) -> tuple[SideRecords, SideRecords, int, How]:
    """Both sides, how many records were dropped from the training ones, and how it was decided.

    Held out are the records of the eval sources, and training records with the same text are dropped; or,
    where there are none, `eval_fraction` of the distinct texts. A label of theirs that would be in no
    training record keeps its records in training.
    """
    inputs = [input_hash(record) for record in train.records]
    if len(held_out):
        known = {input_hash(record) for record in held_out.records}
        keep = [number for number, hashed in enumerate(inputs) if hashed not in known]
        if not keep:
            raise DataError(
                "every training record is also in the held-out ones",
                where=", ".join(spec.path for spec in data.eval_sources),
                hint="name other records as data.eval_sources",
            )
        return train.take(keep), held_out, len(inputs) - len(keep), "own sources"
    if not data.eval_fraction or len(set(inputs)) < 2:
        return train, SideRecords(), 0, "none"
    chosen = _chosen(np.array(inputs, np.uint64), data.eval_fraction, seed)
    _keep_labels(chosen, inputs, train, objective)
    if not chosen.any():
        return train, SideRecords(), 0, "none"
    return (
        train.take(np.flatnonzero(~chosen).tolist()),
        train.take(np.flatnonzero(chosen).tolist()),
        0,
        "by document",
    )


def _chosen(hashes: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    draws = uniform(hashes, seed)
    chosen: np.ndarray = draws < fraction
    if not chosen.any():
        chosen = hashes == hashes[draws.argmin()]
    if chosen.all():
        chosen = hashes != hashes[draws.argmax()]
    return chosen


def _keep_labels(chosen: np.ndarray, inputs: list[int], side: SideRecords, objective: str) -> None:
    """Take records out of `chosen` until each of their labels is in a record that is not chosen."""
    kept = {
        label
        for number in np.flatnonzero(~chosen).tolist()
        for label in labels_of(side.records[number], objective)
    }
    numbers = np.array(inputs, np.uint64)
    for number in np.flatnonzero(chosen).tolist():
        own = labels_of(side.records[number], objective)
        if chosen[number] and not kept.issuperset(own):
            for same in np.flatnonzero(numbers == numbers[number]).tolist():
                chosen[same] = False
                kept.update(labels_of(side.records[same], objective))
