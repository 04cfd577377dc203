"""Whether a pass key is found, by how deep it lies and how long the text around it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.prediction.long_context.passkeys import Passkeys, Prompt
from workbench.prediction.long_context.scoring import Scorer, Told
from workbench.prediction.long_context.statistics import wilson


def retrieval(
    scorer: Scorer,
    passkeys: Passkeys,
    lengths: Sequence[int],
    depths: Sequence[float],
    trials: int,
    told: Told,
) -> list[dict[str, Any]]:
    """One cell for each length and depth, of `trials` prompts each, the same for every model.

    `exact` counts keys that greedy decoding writes: it does so exactly where each token of the key is the
    likeliest behind the prompt and the tokens before it, so one forward pass tells. `logprob` is the mean
    log-probability of a token of the key, in nats, and `token_accuracy` the share of them that are likeliest:
    both move before the first key is found.
    """
    cells = []
    for length in lengths:
        for number, depth in enumerate(depths):
            prompts = [passkeys.prompt(length, depth, (trial, length, number)) for trial in range(trials)]
            scores = scorer.score(np.stack([prompt.ids for prompt in prompts]), told)
            cells.append({"length": length, "depth": float(depth), **_cell(scores, prompts)})
    return cells


def _cell(scores: Any, prompts: Sequence[Prompt]) -> dict[str, Any]:
    own = [
        (scores.logprobs[row, -p.answer :], scores.is_best[row, -p.answer :]) for row, p in enumerate(prompts)
    ]
    exact = sum(bool(best.all()) for _, best in own)
    low, high = wilson(exact, len(prompts))
    return {
        "trials": len(prompts),
        "exact": exact,
        "low": low,
        "high": high,
        "token_accuracy": float(np.mean(np.concatenate([best for _, best in own]))),
        "logprob": float(np.mean(np.concatenate([logprob for logprob, _ in own]))),
    }


def work(lengths: Sequence[int], depths: Sequence[float], trials: int) -> int:
    """Tokens that `retrieval` reads."""
    return sum(lengths) * len(depths) * trials
