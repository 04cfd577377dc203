from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest
import torch
from scipy import stats
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from workbench.inference.engine.requests import SamplingParams
from workbench.inference.engine.sampling import SamplerState, describe, draw


def state(index: int = 0, prompt: Any = (1, 2), **settings: Any) -> SamplerState:
    params = SamplingParams(max_tokens=10, **settings)
    return SamplerState(params, prompt, index, frozenset({0}))


def expected(logits: torch.Tensor, **settings: Any) -> torch.Tensor:
    """The distribution as transformers' own warpers make it."""
    scores = logits[None].clone()
    ids = torch.zeros(1, 1, dtype=torch.long)
    warpers = {
        "temperature": TemperatureLogitsWarper,
        "top_k": TopKLogitsWarper,
        "top_p": TopPLogitsWarper,
        "min_p": MinPLogitsWarper,
    }
    for name, warper in warpers.items():
        if name in settings:
            scores = warper(settings[name])(ids, scores)
    return scores.softmax(-1)[0]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.7},
        {"top_k": 5},
        {"top_p": 0.6},
        {"min_p": 0.2},
        {"temperature": 1.5, "top_k": 20, "top_p": 0.8, "min_p": 0.05},
    ],
)
def test_draws_follow_the_distribution_of_transformers_warpers(settings: dict[str, Any]) -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(1)) * 2
    wanted = expected(logits, **settings)
    one = state(seed=3, **settings)
    draws = 4000
    counts = Counter(draw(logits[None], [one])[0] for _ in range(draws))
    assert all(wanted[token] > 0 for token in counts)
    kept = [token for token in range(50) if wanted[token] * draws >= 5]
    rest = draws - sum(counts[token] for token in kept)
    observed = [counts[token] for token in kept]
    probabilities = [float(wanted[token]) for token in kept]
    if 1 - sum(probabilities) > 1e-6:
        observed.append(rest)
        probabilities.append(1 - sum(probabilities))
    if len(observed) > 1:
        total = sum(probabilities)
        chi = stats.chisquare(observed, [probability / total * draws for probability in probabilities])
        assert chi.pvalue > 1e-3


def test_a_large_vocabulary_is_cut_as_a_small_one_is() -> None:
    logits = torch.randn(30_000, generator=torch.Generator().manual_seed(2))
    for settings in ({"top_p": 0.999}, {"min_p": 1e-4}, {"top_p": 0.3}, {"top_k": 2000}, {"top_k": 60}):
        allowed = expected(logits, **settings) > 0
        one = state(seed=0, **settings)
        assert all(allowed[draw(logits[None], [one])[0]] for _ in range(100))


def test_what_a_row_draws_does_not_depend_on_the_others() -> None:
    logits = torch.randn(6, 3000, generator=torch.Generator().manual_seed(3))
    settings: list[dict[str, Any]] = [
        {},
        {"top_k": 5},
        {"top_k": 500},
        {"top_p": 0.9},
        {"temperature": 0},
        {"min_p": 0.1},
    ]

    def states() -> list[SamplerState]:
        return [state(index=row, seed=7, **each) for row, each in enumerate(settings)]

    together, alone, shuffled = states(), states(), states()
    order = [3, 1, 5, 0, 4, 2]
    for _ in range(20):
        all_at_once = draw(logits, together)
        one_by_one = [draw(logits[row : row + 1], [alone[row]])[0] for row in range(6)]
        mixed = draw(logits[order], [shuffled[row] for row in order])
        assert all_at_once == one_by_one
        assert mixed == [all_at_once[row] for row in order]


def test_greedy_takes_the_likeliest() -> None:
    logits = torch.randn(5, 100)
    assert draw(logits, [state(temperature=0) for _ in range(5)]) == logits.argmax(-1).tolist()


def test_seeds_repeat_and_samples_differ() -> None:
    logits = torch.zeros(1, 1000)

    def sequence(index: int, seed: int) -> list[int]:
        one = state(index=index, seed=seed)
        return [draw(logits, [one])[0] for _ in range(10)]

    assert sequence(0, 5) == sequence(0, 5)
    assert sequence(0, 5) != sequence(1, 5)
    assert sequence(0, 5) != sequence(0, 6)


def test_repetition_penalty_is_transformers_own() -> None:
    logits = torch.randn(40, generator=torch.Generator().manual_seed(4))
    one = state(prompt=(3, 4), repetition_penalty=1.3)
    one.accept(9)
    mine = logits.clone()
    one.adjust(mine)
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([[3, 4, 9]]), logits[None].clone())[0]
    assert torch.equal(mine, theirs)


def test_presence_and_frequency_count_what_was_written() -> None:
    one = state(presence_penalty=0.5, frequency_penalty=0.25)
    for token in (7, 7, 8):
        one.accept(token)
    logits = torch.zeros(10)
    one.adjust(logits)
    assert logits[7].item() == -(0.5 + 2 * 0.25)
    assert logits[8].item() == -(0.5 + 0.25)
    assert logits[1].item() == 0  # it stood in the prompt alone


def test_no_end_before_the_least_number_of_tokens() -> None:
    one = state(min_tokens=1)
    logits = torch.zeros(10)
    one.adjust(logits)
    assert logits[0].item() == -math.inf
    one.accept(5)
    assert not one.adjusts()


def test_masked_tokens_are_never_drawn() -> None:
    rng = random.Random(0)
    logits = torch.full((1, 500), -math.inf)
    allowed = rng.sample(range(500), 3)
    logits[0, allowed] = torch.tensor([0.0, 1.0, -2.0])
    for settings in ({}, {"top_p": 0.95}, {"min_p": 0.01}, {"top_k": 50}):
        one = state(seed=1, **settings)
        assert {draw(logits, [one])[0] for _ in range(200)} <= set(allowed)


def test_log_probabilities_are_the_log_softmax() -> None:
    logits = torch.randn(3, 70)
    told = describe(logits, [5, 6, 7], 4)
    wanted = logits.log_softmax(-1)
    for row, info in enumerate(told):
        assert info.logprob == wanted[row, info.id].item()
        values, ids = wanted[row].topk(4)
        assert info.top == tuple(zip(ids.tolist(), values.tolist(), strict=True))
