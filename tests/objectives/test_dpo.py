"""DPO's rows and loss: what counts, once and with the right weight, however it is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from preference_arrays import preference_store
from tiny_decoders import DECODERS

from workbench.objectives.base import Batch, LossOutput
from workbench.objectives.dpo import DirectPreferenceOptimization
from workbench.objectives.preference.pair_rows import PairRows
from workbench.objectives.preference.pairs import PairChoice, pairs_of
from workbench.recipe import Recipe

ELEMENTS = [
    (5, [(4, 1), (7, 2)]),
    (3, [(6, 2), (2, 1)]),
    (9, [(3, 1), (5, 2), (4, 2), (6, 3)]),
    (4, [(8, 2), (3, 1)]),
]


class Tokenizer:
    """As much of one as rows and views need."""

    chat_template = None
    all_special_ids = (7,)

    def __len__(self) -> int:
        return 200


def objective_of(**section: Any) -> DirectPreferenceOptimization:
    recipe = Recipe(
        objective={"name": "dpo", **section},
        model={"model_name_or_path": "m"},
        data={"shuffle": False},
    )
    return DirectPreferenceOptimization(recipe, Tokenizer())


def rows_of(objective: DirectPreferenceOptimization, elements: Any = ELEMENTS) -> PairRows:
    rows = objective.rows(preference_store(elements), 64, training=True)
    assert isinstance(rows, PairRows)
    return rows


def with_reference(rows: PairRows, model: Any) -> None:
    """What a model says, row by row, as anybody would write it."""
    said = [naive(model, rows, answer) for answer in range(rows.store.num_answers)]
    rows.reference = np.array(said, np.float32)


@torch.no_grad()
def naive(model: Any, rows: PairRows, answer: int) -> float:
    """log π of an answer, from all logits of prompt and answer alone."""
    store = rows.store
    element = int((store.firsts <= answer).sum()) - 1
    ids, said = store.answer(answer)
    whole = torch.tensor([*store.prompt(element), *ids], dtype=torch.int64)
    logprobs = model(input_ids=whole[None]).logits[0].double().log_softmax(-1)
    first = len(whole) - len(ids)
    return sum(float(logprobs[first + n - 1, whole[first + n]]) for n in range(len(ids)) if said[n])


def loss_of(objective: DirectPreferenceOptimization, model: Any, batch: Batch) -> LossOutput:
    return objective.loss(model, objective.tensors(batch, torch.device("cpu")), batch)


def ready(objective: DirectPreferenceOptimization, *, is_shared: bool = True, seed: int = 0) -> Any:
    model = DECODERS["llama"]().double()
    objective.length = 64
    objective.check(model)
    assert objective.form.is_shared and objective.is_fused
    objective.form.is_shared = is_shared
    if seed:
        torch.manual_seed(seed)
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(0.02 * torch.randn_like(weights))
    return model


@pytest.mark.parametrize(
    ("loss_type", "first"), [("sigmoid", math.log(2)), ("hinge", 1.0), ("ipo", 25.0), ("robust", math.log(2))]
)
def test_the_first_loss_is_exact_and_all_rewards_are_nothing(loss_type: str, first: float) -> None:
    objective = objective_of(loss_type=loss_type)
    model, rows = ready(objective), rows_of(objective)
    batch = rows.batch(0, 4)
    tensors = objective.tensors(batch, torch.device("cpu"))
    with torch.no_grad():
        said = objective._score(model, tensors, batch)
    output = objective.loss(model, tensors | {"reference": said}, batch)
    assert output.sums[0].item() / batch.counts[0] == pytest.approx(first, rel=1e-6)
    # Exactly: with gradients and without, all is computed the same way.
    assert output.stats[:4].tolist() == [0.0] * 4


@pytest.mark.parametrize("is_shared", [True, False])
def test_loss_and_rewards_are_those_of_the_formula(is_shared: bool) -> None:
    objective = objective_of(beta=0.3)
    start, model = ready(objective), ready(objective, is_shared=is_shared, seed=1)
    rows = rows_of(objective)
    with_reference(rows, start)
    batch = rows.batch(0, 4)
    output = loss_of(objective, model, batch)
    ratio = [naive(model, rows, a) - float(rows.reference[a]) for a in range(rows.store.num_answers)]  # type: ignore[index]
    pairs = [[(0, 1)], [(3, 2)], [(4, 5), (4, 6), (4, 7), (5, 7), (6, 7)], [(9, 8)]]
    expected = chosen = right = 0.0
    for some in pairs:
        for better, worse in some:
            margin = 0.3 * (ratio[better] - ratio[worse])
            expected += math.log1p(math.exp(-margin)) / len(some)
            chosen += 0.3 * ratio[better] / len(some)
            right += (margin > 0) / len(some)
    assert batch.counts == (4,)
    assert output.sums.item() == pytest.approx(expected, rel=1e-5)
    values = dict(zip(objective.stat_names, output.stats.tolist(), strict=True))
    assert values["rewards/chosen"] == pytest.approx(chosen, rel=1e-4, abs=1e-5)
    assert values["rewards/accuracies"] == pytest.approx(right, rel=1e-6)
    assert values["rewards/margins"] == pytest.approx(
        values["rewards/chosen"] - values["rewards/rejected"], rel=1e-5
    )


def gradients_of(objective: Any, model: Any, batches: Sequence[Batch]) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    count = sum(batch.counts[0] for batch in batches)
    total = 0.0
    for batch in batches:
        loss = loss_of(objective, model, batch).sums[0] / count
        loss.backward()
        total += loss.item()
    return total, [weights.grad.clone() for weights in model.parameters()]


def test_gradients_do_not_depend_on_form_or_micro_batches() -> None:
    objective = objective_of(nll_coefficient=0.5)
    model = ready(objective, seed=2)
    rows = rows_of(objective)
    with_reference(rows, DECODERS["llama"]().double())
    loss, wanted = gradients_of(objective, model, [rows.batch(0, 4)])
    objective.form.is_shared = False
    ways = [[rows.batch(0, 4)], [rows.batch(n, 1) for n in range(4)]]
    objective.form.is_shared = True
    ways += [[rows.batch(0, 1), rows.batch(1, 3)]]
    for batches in ways:
        same, found = gradients_of(objective, model, batches)
        assert same == pytest.approx(loss, rel=1e-6)
        for one, other in zip(found, wanted, strict=True):
            # Log-probabilities are kept in fp32.
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_logits_behind_a_head_of_its_own_kind_are_all_made() -> None:
    objective = objective_of()
    model = ready(objective, seed=3)
    rows = rows_of(objective)
    with_reference(rows, DECODERS["llama"]().double())
    batch = rows.batch(0, 4)
    fused = loss_of(objective, model, batch)
    objective.is_fused = False
    plain = loss_of(objective, model, batch)
    assert plain.sums.item() == pytest.approx(fused.sums.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("ranks", "choice", "pairs"),
    [
        ([1, 2, 3], "all", [(0, 1), (0, 2), (1, 2)]),
        ([2, 1, 2, 4], "all", [(0, 3), (1, 0), (1, 2), (1, 3), (2, 3)]),
        ([2, 1, 2, 4], "adjacent", [(0, 3), (1, 0), (1, 2), (2, 3)]),
        ([3, 1, 2, 1], "best_worst", [(1, 0), (3, 0)]),
        ([1, 1], "all", []),
        ([1, 1], "best_worst", []),
    ],
)
def test_pairs_of_a_ranking(ranks: list[int], choice: PairChoice, pairs: list[tuple[int, int]]) -> None:
    assert pairs_of(ranks, choice) == pairs


def test_answers_that_are_not_compared_are_not_computed() -> None:
    objective = objective_of(pairs="best_worst")
    rows = rows_of(objective)
    assert rows.batch(2, 1).extra["answers"].tolist() == [4, 7]
    assert rows.batch(2, 1).arrays["input_ids"].shape == (1, 9 + 3 + 6)
    assert rows.report()["tokens"] == 5 + 11 + 3 + 8 + 9 + 9 + 4 + 11


def test_the_inspector_shows_which_answer_is_which_and_who_sees_whom() -> None:
    objective = objective_of()
    rows = rows_of(objective)
    first, _, third, last = objective.view(rows.batch(0, 4))
    assert first.label == "chosen 4 tokens, rejected 7 tokens" and not first.notes
    assert last.label == "rejected 7 tokens, chosen 3 tokens"
    assert third.notes == ["compared: 1 over 2, 1 over 3, 1 over 4, 2 over 4, 3 over 4"]
    tokens, attends = first.streams[0].tokens, first.streams[0].attends
    assert [token.note for token in tokens if token.note] == ["chosen", "rejected"]
    assert [token.position for token in tokens] == [*range(9), *range(5, 12)]
    assert attends[15].tolist() == [True] * 5 + [False] * 4 + [True] * 7
    assert attends[6].tolist() == [True] * 7 + [False] * 9
    # Of every third answer the first token does not count.
    states = [token.state for token in last.streams[0].tokens[4:12]]
    assert states[0] in ("context", "special") and set(states[1:]) == {"supervised"}
