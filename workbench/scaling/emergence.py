"""Accuracy beside likelihood, over the sizes of a study: a jump told from an artefact of the metric.

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

from workbench.scaling.laws import Floats

Z = 1.959964
"""Of 95 % intervals."""
FEW, MANY = 0.1, 0.5
"""Exact match below the one in some models and above the other in larger ones is called a jump."""
SMOOTH = 0.8
"""R² from which on the likelihood is said to grow smoothly with log N."""


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


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the sizes show for one number of steps, in a sentence; `rows` have `parameters`, `exact` and
    `per_token`."""
    ordered = sorted(rows, key=lambda row: float(row["parameters"]))
    exact = [float(row["exact"]) for row in ordered]
    if max(exact) < FEW:
        return f"no size answers a tenth right: nothing to see of a jump yet{_drift(ordered)}"
    if min(exact) > MANY:
        return "all sizes answer more than half: the sums are too easy to tell"
    trend = smoothness(ordered)
    jumps = min(exact) < FEW and max(exact) > MANY
    way = "grows" if ordered[-1]["per_token"] >= ordered[0]["per_token"] else "falls"
    smooth = f"{way} {'smoothly' if trend >= SMOOTH else 'unevenly'} with log N (R² {trend:.2f})"
    if jumps and trend >= SMOOTH and way == "grows":
        return (
            f"exact match jumps, but the likelihood of the right answer {smooth}: an artefact of the metric"
        )
    if jumps:
        return f"exact match jumps, and the likelihood of the right answer {smooth}: not of the metric alone"
    return f"exact match grows without a jump; the likelihood of the right answer {smooth}"


def _drift(rows: Sequence[Mapping[str, Any]]) -> str:
    rise = float(rows[-1]["per_token"]) - float(rows[0]["per_token"])
    if rise > 0:
        return "; the likelihood of the right answer rises all the same"
    return ", nor does the likelihood of the right answer rise"


def smoothness(rows: Sequence[Mapping[str, Any]]) -> float:
    """R² of a straight line of nats a token over log N."""
    x = np.log([float(row["parameters"]) for row in rows])
    y = np.array([float(row["per_token"]) for row in rows])
    if len(rows) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 1.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)
