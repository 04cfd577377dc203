"""What an evaluation of a task shows beside its metrics: scores of each class, what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

MOST_LABELS = 100
"""A confusion matrix of more labels than this helps nobody."""


def details(objective: str, predictions: Sequence[Any], labels: tuple[str, ...]) -> dict[str, Any]:
    """`classes`, `confusion` ({labels, matrix}: rows are gold) from an objective's predictions, of a reward
    model its `report`; empty for objectives that have none."""
    from workbench.objectives import scores

    if objective == "classification":
        names = list(labels)
        gold = [names[number] for number, _ in predictions]
        found = [names[number] for _, number in predictions]
        classes = scores.per_class(gold, found, names)
    elif objective == "tagging":
        gold_tags = [tags for tags, _ in predictions]
        found_tags = [tags for _, tags in predictions]
        gold = [tag for tags in gold_tags for tag in tags]
        found = [tag for tags in found_tags for tag in tags]
        names = sorted({*labels, *gold, *found})
        entities = scores.is_iob2(names)
        classes = (
            scores.per_entity(gold_tags, found_tags) if entities else scores.per_class(gold, found, names)
        )
    elif objective == "reward":
        from workbench.objectives.reward.report import report

        return {"report": report(predictions)}
    else:
        return {}
    table = {"classes": [asdict(line) for line in classes]}
    if len(names) > MOST_LABELS:
        return table
    return {**table, "confusion": {"labels": names, "matrix": scores.confusion(gold, found, names)}}
