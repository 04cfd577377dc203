"""Accuracy beside likelihood, over the compute of a study's runs: a jump told from an artefact of the metric.

Wei et al. 2022 call an ability emergent that small models lack and large ones have. Schaeffer et al. 2023
show that exact match makes jumps of what grows smoothly: an answer of k tokens is right where all k are, so
its odds are about p^k where p is a token's. So both stand side by side: where the likelihood of the right
answer grows smoothly and only exact match jumps, nothing emerged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.scaling.fitting.points import Point
from workbench.scaling.laws import Floats

Z = 1.959964
"""Of 95 % intervals."""
FEW, MANY = 0.1, 0.5
"""Exact match below the one in some models and above the other in larger ones is called a jump."""
SMOOTH = 0.8
"""R² from which on the likelihood is said to grow smoothly with log compute."""
NEAR = 2.5
"""A jump lies between runs whose compute differs by no more: between others nobody looked."""


def wilson(right: int, asked: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, z = right / asked, Z * Z / asked
    middle = (share + z / 2) / (1 + z)
    half = Z / (1 + z) * math.sqrt(share * (1 - share) / asked + z / (4 * asked))
    return max(0.0, middle - half), min(1.0, middle + half)


def summarise(items: Sequence[Mapping[str, Any]], steps: Sequence[int]) -> list[dict[str, Any]]:
    """One model's answers by the number of steps: `exact` and `result` as shares with Wilson intervals, and
    nats for each answer token and digit with those of the mean; `expected` is the chance of the right answer
    when it is drawn, the continuous counterpart of exact match."""
    found = []
    for kind in sorted(set(steps)):
        own = [item for item, step in zip(items, steps, strict=True) if step == kind]
        per_token = np.array([item["log_likelihood"] / item["tokens"] for item in own], np.float64)
        per_digit = np.array([item["log_likelihood"] / item["digits"] for item in own], np.float64)
        exact, result = (sum(bool(item[name]) for item in own) for name in ("exact", "result"))
        found.append(
            {
                "steps": kind,
                "asked": len(own),
                "exact": exact / len(own),
                "exact_interval": list(wilson(exact, len(own))),
                "result": result / len(own),
                "result_interval": list(wilson(result, len(own))),
                "per_token": float(per_token.mean()),
                "per_token_interval": list(_of_mean(per_token)),
                "per_digit": float(per_digit.mean()),
                "per_digit_interval": list(_of_mean(per_digit)),
                "expected": float(np.exp([item["log_likelihood"] for item in own]).mean()),
                "tokens": float(np.mean([item["tokens"] for item in own])),
            }
        )
    return found


def _of_mean(values: Floats) -> tuple[float, float]:
    half = Z * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean()) - half, float(values.mean()) + half


def best_of_each_budget(points: Sequence[Point]) -> list[Point]:
    """The run of the lowest loss at each compute budget, least compute first; of runs without budgets those
    that are better than every one of less compute. Sizes that are alike far from their best length would say
    more of that than of scale."""
    levels = {point.level for point in points if point.level is not None}
    found = [
        min((point for point in points if point.level == level), key=lambda point: point.loss)
        for level in levels
    ]
    least = math.inf
    for point in sorted((p for p in points if p.level is None), key=lambda p: (p.flops, p.loss)):
        if point.loss < least:
            least = point.loss
            found.append(point)
    return sorted(found, key=lambda point: point.flops)


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the runs show for one number of steps, in a sentence; `rows` have `flops` (of training), `exact`
    and `per_token`."""
    ordered = sorted(rows, key=lambda row: float(row["flops"]))
    exact = [float(row["exact"]) for row in ordered]
    if max(exact) < FEW:
        return f"no model answers a tenth right: nothing to see of a jump yet{_drift(ordered)}"
    if min(exact) > MANY:
        return "all models answer more than half: the sums are too easy to tell"
    trend = smoothness(ordered)
    if trend is None:
        return f"{len(ordered)} models are too few to tell a jump from a slope"
    way = "grows" if _slope(ordered) >= 0 else "falls"
    smooth = f"{way} {'smoothly' if trend >= SMOOTH else 'unevenly'} with log compute (R² {trend:.2f})"
    likely = f"the likelihood of the right answer {smooth}"
    if exact[-1] <= exact[0]:
        return f"exact match does not grow with compute; {likely}"
    step, factor = _steepest(ordered)
    if not (min(exact) < FEW and max(exact) > MANY and step > 0.5 * (max(exact) - min(exact))):
        return f"exact match grows without a jump; {likely}"
    if factor > NEAR:
        return (
            f"exact match rises by {step:.0%} between two models {factor:.2g}× of compute apart: whether by "
            f"a jump, models between them would tell; {likely}"
        )
    if trend >= SMOOTH and way == "grows":
        return f"exact match jumps, but {likely}: an artefact of the metric"
    return f"exact match jumps, and {likely}: not of the metric alone"


def _steepest(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The largest rise of exact match from one model to the next, and the factor of compute between them."""
    return max(
        (float(after["exact"]) - float(before["exact"]), float(after["flops"]) / float(before["flops"]))
        for before, after in zip(rows, rows[1:], strict=False)
    )


def _drift(rows: Sequence[Mapping[str, Any]]) -> str:
    if len(rows) < 2:
        return ""
    if _slope(rows) > 0:
        return "; the likelihood of the right answer rises all the same"
    return ", nor does the likelihood of the right answer rise"


def _logs(rows: Sequence[Mapping[str, Any]]) -> tuple[Floats, Floats]:
    return (
        np.log(np.array([float(row["flops"]) for row in rows])),
        np.array([float(row["per_token"]) for row in rows]),
    )


def _slope(rows: Sequence[Mapping[str, Any]]) -> float:
    """Of nats a token over log compute."""
    x, y = _logs(rows)
    return float(((x - x.mean()) * (y - y.mean())).sum())


def smoothness(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """R² of a straight line of nats a token over log compute; None of fewer than three models."""
    x, y = _logs(rows)
    if len(rows) < 3 or np.ptp(x) == 0:
        return None
    if np.ptp(y) == 0:
        return 1.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)
