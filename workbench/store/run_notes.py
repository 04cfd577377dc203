"""What the curves of a run say that a person may take for a fault, or should know: in words, from the metrics
alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.store.growing import FloatArray
    from workbench.store.metrics import MetricsTail

NOTED = ("dpo",)
"""Objectives that something can be said of."""

LEAST_POINTS = 8
"""Before so many lines of metrics nothing is said: the first steps go up and down."""
QUARTER = 4
NOTABLE = 0.1
"""A fall of less than this share of the margin is none."""


def notes_on(objective: str, metrics: MetricsTail) -> list[str]:
    """What there is to say of a run of an objective, a paragraph each; mostly nothing."""
    if objective == "dpo" and (note := _falling_chosen(metrics)):
        return [note]
    return []


def _falling_chosen(metrics: MetricsTail) -> str | None:
    """That the chosen answers grow less likely as well, and what it means.

    Known of DPO's loss, which looks at the difference only (Pal et al. 2024, "Smaug"; Razin et al. 2024,
    "Unintentional Unalignment").
    """
    chosen = metrics.series("rewards/chosen")[1]
    rejected = metrics.series("rewards/rejected")[1]
    if len(chosen) < LEAST_POINTS or len(rejected) != len(chosen):
        return None
    now, other, before = _late(chosen), _late(rejected), _early(chosen)
    margin = now - other
    if not now < min(0.0, before) or not -now > NOTABLE * abs(margin):
        return None
    fell = (
        f"rewards/chosen has fallen to {now:.3g}: the answers that were preferred have become less likely "
        "than they were under the reference. "
    )
    if margin <= 0:
        return fell + (
            f"The rejected ones have not fallen further ({other:.3g}), so nothing is learnt yet. Look at the "
            "records (do chosen and rejected stand the right way round?), or lower training.learning_rate."
        )
    return fell + (
        f"The rejected ones fell further, to {other:.3g}, so the margin of {margin:.3g} is what was asked "
        "for: DPO's loss looks at the difference alone. It is usual, and no fault by itself. Where the "
        "samples get worse, what holds the chosen answers up is objective.nll_coefficient=1, a larger "
        "objective.beta, or a lower training.learning_rate."
    )


def _late(values: FloatArray) -> float:
    """The mean of the last quarter."""
    return float(values[-max(1, len(values) // QUARTER) :].mean())


def _early(values: FloatArray) -> float:
    """The mean of the first quarter."""
    return float(values[: max(1, len(values) // QUARTER)].mean())
