"""How good a reward model is on prompts it has not seen, in numbers and as a table for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.objectives.preference.calibration import calibration

BINS = 10
"""Of confidences, from ½ to 1."""

HISTOGRAM_BINS = 20
DRAWS = 1000
"""Resamplings of prompts for an interval."""


class Scored(NamedTuple):
    """The answers to one prompt: what they scored, how they were ranked, how long they are in tokens."""

    rewards: list[float]
    ranks: list[int]
    lengths: list[int]


class _Pairs(NamedTuple):
    """The untied pairs of a prompt [pairs]: by how much the better one scored more, and is longer."""

    rewards: NDArray[np.float64]
    lengths: NDArray[np.float64]


def _pairs(scored: Scored) -> _Pairs:
    ranks = np.array(scored.ranks)
    better, worse = np.nonzero(ranks[:, None] < ranks[None, :])
    rewards, lengths = np.array(scored.rewards, np.float64), np.array(scored.lengths, np.float64)
    return _Pairs(rewards[better] - rewards[worse], lengths[better] - lengths[worse])


def right(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where the better answer is ahead, ½ where neither is."""
    found: NDArray[np.float64] = (np.sign(differences) + 1) / 2
    return found


def held_out_scores(predictions: Sequence[Scored]) -> dict[str, float]:
    """`longer_accuracy`, of always preferring the longer answer, and `calibration_error`, the expected
    calibration error over pairs (Guo et al. 2017)."""
    pairs = [_pairs(scored) for scored in predictions]
    lengths = np.concatenate([found.lengths for found in pairs])
    if not len(lengths):
        return {}
    rewards = torch.from_numpy(np.concatenate([found.rewards for found in pairs]))
    return {
        "longer_accuracy": float(right(lengths).mean()),
        "calibration_error": calibration(rewards, BINS).expected_error,
    }


def report(predictions: Sequence[Scored]) -> dict[str, Any]:
    """What the Train tab shows of one evaluation.

    `prompts`, `pairs`; `accuracy` over pairs and its 95 % interval by resampling prompts, for the pairs of
    one prompt are no independent evidence, and the same of `longer_accuracy`; `chance` 0.5;
    `calibration_error` and `calibration`, bins of confidence with their pairs, mean confidence and accuracy;
    `histogram`, how many answers scored in each of 20 bins, those ranked best and worst apart.
    """
    pairs = [_pairs(scored) for scored in predictions]
    rewards = np.concatenate([found.rewards for found in pairs])
    if not len(rewards):
        return {"kind": "reward", "prompts": len(predictions), "pairs": 0}
    found = calibration(torch.from_numpy(rewards), BINS)
    own = [(each.rewards > 0).astype(np.float64) for each in pairs]
    longer = [right(each.lengths) for each in pairs]
    return {
        "kind": "reward",
        "prompts": len(predictions),
        "pairs": len(rewards),
        "chance": 0.5,
        "accuracy": float((rewards > 0).mean()),
        "accuracy_interval": interval(own),
        "longer_accuracy": float(np.concatenate(longer).mean()),
        "longer_interval": interval(longer),
        "calibration_error": found.expected_error,
        "calibration": [
            {
                "low": each.low,
                "high": each.high,
                "pairs": each.pairs,
                "confidence": each.confidence,
                "accuracy": each.accuracy,
            }
            for each in found.bins
        ],
        "histogram": _histogram(predictions),
    }


def interval(by_prompt: Sequence[NDArray[np.float64]]) -> list[float]:
    """Where the mean over pairs lies in 95 of 100 resamplings of the prompts, under a fixed seed."""
    sums = np.array([found.sum() for found in by_prompt])
    counts = np.array([len(found) for found in by_prompt])
    drawn = np.random.default_rng(0).integers(0, len(sums), (DRAWS, len(sums)))
    means = sums[drawn].sum(1) / np.maximum(counts[drawn].sum(1), 1)
    low, high = np.quantile(means, [0.025, 0.975])
    return [float(low), float(high)]


def _histogram(predictions: Sequence[Scored]) -> dict[str, Any]:
    every = np.concatenate([np.array(scored.rewards) for scored in predictions])
    edges = np.histogram_bin_edges(every, HISTOGRAM_BINS)
    told: dict[str, Any] = {"edges": edges.tolist(), "all": np.histogram(every, edges)[0].tolist()}
    for name, pick in (("best", min), ("worst", max)):
        chosen = [
            reward
            for scored in predictions
            for reward, rank in zip(scored.rewards, scored.ranks, strict=True)
            if rank == pick(scored.ranks)
        ]
        told[name] = np.histogram(chosen, edges)[0].tolist()
    return told
