"""A reward model: the loss of rankings, where scores are read, what is told of held-out prompts."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from ranked_answers import LENGTH, chat_tokenizer, rankings, scorer, store_of
from torch import nn

from workbench.errors import DataError, ModelError
from workbench.models.adapt import adapt
from workbench.models.purpose import Purpose
from workbench.models.reward_head import (
    initialize_reward_head,
    pad_with,
    padding_for_scores,
    reward_layer,
    set_reward_shift,
)
from workbench.objectives.base import Batch, Totals
from workbench.objectives.reward import RewardModeling
from workbench.objectives.reward.pairs_apart import pairs_apart
from workbench.objectives.reward.report import Scored, held_out_scores, interval, report
from workbench.recipe import Recipe, TuningSection

TOKENIZER = chat_tokenizer()
STORE = store_of(rankings(12), TOKENIZER)


def objective_of(batch: int = 4, **options: Any) -> RewardModeling:
    recipe = Recipe(
        objective={"name": "reward", **options},
        model={"model_name_or_path": "m"},
        training={"per_device_train_batch_size": batch},
    )
    return RewardModeling(recipe, chat_tokenizer())


def setting(**options: Any) -> tuple[RewardModeling, Any, Any]:
    """The objective, its rows and a model that is ready."""
    objective = objective_of(**options)
    rows = objective.rows(STORE, LENGTH, training=True)
    return objective, rows, ready(objective)


def ready(objective: RewardModeling) -> Any:
    """A model as the objective wants it."""
    model = scorer(objective.tokenizer)
    objective.check(model)
    return model


def loss_of(objective: RewardModeling, model: Any, batches: list[Batch]) -> tuple[torch.Tensor, Totals]:
    """The mean over all prompts of some micro-batches, as the loop makes it."""
    device = torch.device("cpu")
    outputs = [objective.loss(model, objective.tensors(batch, device), batch) for batch in batches]
    count = sum(batch.counts[0] for batch in batches)
    total = torch.stack([output.sums for output in outputs]).sum() / count
    stats = torch.stack([output.stats for output in outputs]).sum(0).tolist()
    names = objective.stat_names
    return total, Totals(
        {"loss": float(total.detach()) * count}, {"loss": count}, dict(zip(names, stats, strict=True))
    )


@pytest.mark.parametrize("options", [{}, {"ranking_loss": "plackett_luce"}, {"ties": "half"}])
def test_a_zero_head_knows_nothing(options: dict[str, Any]) -> None:
    objective, rows, model = setting(**options)
    nn.init.zeros_(model.score.weight)
    loss, totals = loss_of(objective, model, [rows.batch(0, 12)])
    if options.get("ranking_loss") is None:
        assert float(loss.detach()) == pytest.approx(math.log(2), abs=1e-6)
    metrics = objective.metrics(totals, training=True)
    assert metrics == {"accuracy": 0, "margin": 0, "min_reward": 0, "mean_reward": 0, "max_reward": 0}


def test_the_loss_is_the_mean_over_prompts_of_the_mean_over_their_pairs() -> None:
    objective, rows, model = setting()
    batch = rows.batch(0, 12)
    loss, totals = loss_of(objective, model, [batch])
    expected, right, pairs = [], 0, 0
    for element in batch.extra["elements"]:
        numbers = list(STORE.answers_of(element))
        rewards = [
            float(model(torch.tensor([[*STORE.prompt(element), *STORE.answer(n)[0]]]).long()).logits.detach())
            for n in numbers
        ]
        losses = []
        for one, other in combinations(range(len(numbers)), 2):
            order = STORE.ranks[numbers[other]] - STORE.ranks[numbers[one]]
            if order:
                ahead = float(np.sign(order)) * (rewards[one] - rewards[other])
                losses.append(math.log1p(math.exp(-ahead)))
                right, pairs = right + (ahead > 0), pairs + 1
        expected.append(sum(losses) / len(losses))
    assert float(loss.detach()) == pytest.approx(sum(expected) / len(expected), abs=2e-6)
    assert totals.stats["pairs"] == pairs and totals.stats["correct"] == right


@pytest.mark.parametrize("options", [{}, {"ranking_loss": "plackett_luce"}])
def test_micro_batches_add_up_to_the_whole(options: dict[str, Any]) -> None:
    objective, rows, model = setting(**options)
    found = []
    for sizes in ([12], [4, 4, 4], [1] * 12):
        model.zero_grad()
        starts = [sum(sizes[:n]) for n in range(len(sizes))]
        batches = [rows.batch(start, size) for start, size in zip(starts, sizes, strict=True)]
        loss, totals = loss_of(objective, model, batches)
        loss.backward()
        found.append((float(loss.detach()), model.score.weight.grad.clone(), totals.stats))
    for loss_, gradient, stats in found[1:]:
        assert loss_ == pytest.approx(found[0][0], abs=1e-6)
        torch.testing.assert_close(gradient, found[0][1], atol=1e-6, rtol=1e-4)
        assert stats == pytest.approx(found[0][2], abs=1e-4)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_prompts_computed_once_give_the_same_loss_and_gradients(lora: bool) -> None:
    objective = objective_of()
    rows = objective.rows(STORE, LENGTH, training=True)
    model = scorer(objective.tokenizer)
    if lora:
        model = adapt(model, TuningSection(method="lora", r=2), Purpose("reward"))
    objective.check(model)
    assert objective.form.is_shared
    found, tokens = [], []
    for shared in (False, True):
        objective.form.is_shared = shared
        model.zero_grad()
        batch = rows.batch(0, 12)
        loss, totals = loss_of(objective, model, [batch])
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        found.append((float(loss.detach()), gradients, totals.stats))
        tokens.append(batch.num_tokens)
        report_of = rows.report()
        assert report_of["rows"] == 12 and report_of["tokens"] == batch.num_tokens
    assert tokens[1] < 0.6 * tokens[0]
    assert found[1][0] == pytest.approx(found[0][0], abs=1e-6) and found[1][1].keys() == found[0][1].keys()
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, atol=2e-6, rtol=1e-4, msg=name)
    assert found[1][2] == pytest.approx(found[0][2], abs=1e-4)


def test_pairs_apart_are_the_same_pairs_and_of_two_answers_the_same_loss() -> None:
    apart = pairs_apart(STORE)
    assert len(apart) == len(STORE.pairs) == len(apart.pairs)
    for element, (whole, better, worse) in enumerate(STORE.pairs.tolist()):
        assert apart.prompt(element).tolist() == STORE.prompt(whole).tolist()
        for own, theirs in zip(apart.answers_of(element), (better, worse), strict=True):
            assert apart.answer(own)[0].tolist() == STORE.answer(theirs)[0].tolist()
    two = store_of(rankings(6, answers=2), TOKENIZER)
    found = []
    for options in ({}, {"shuffle_pairs": True}, {"ranking_loss": "plackett_luce"}):
        objective = objective_of(**options)
        rows = objective.rows(two, LENGTH, training=True)
        found.append(float(loss_of(objective, ready(objective), [rows.batch(0, 6)])[0].detach()))
    assert found[1:] == pytest.approx([found[0]] * 2, abs=1e-6)


def test_margins_raise_the_loss_and_centring_what_is_far_from_0() -> None:
    centred: dict[str, Any] = {"center_rewards_coefficient": 1.0}
    margins = [record | {"margin": 2.0} for record in _pairs(4)]
    losses = []
    for records, options in (
        (_pairs(4), {}),
        (margins, {}),
        (_pairs(4), centred),
    ):
        objective = objective_of(**options)
        rows = objective.rows(store_of(records, TOKENIZER), LENGTH, training=True)
        losses.append(float(loss_of(objective, ready(objective), [rows.batch(0, 4)])[0].detach()))
    assert losses[1] > losses[0] + 0.5 and losses[2] > losses[0]


def _pairs(count: int) -> list[dict[str, Any]]:
    return [
        {"prompt": record["prompt"], "chosen": record["completions"][0], "rejected": record["completions"][1]}
        for record in rankings(count)
    ]


def test_padding_is_not_what_answers_end_with() -> None:
    objective, rows, model = setting()
    end = TOKENIZER.eos_token_id
    assert TOKENIZER.pad_token_id == end and objective.pad_token_id != end
    assert model.config.pad_token_id == objective.tokenizer.pad_token_id == objective.pad_token_id
    objective.form.is_shared = False
    batch = rows.batch(0, 12)
    lengths = batch.arrays["attention_mask"].sum(1)
    assert len(set(lengths.tolist())) > 1
    assert (batch.arrays["input_ids"][np.arange(len(lengths)), lengths - 1] == end).all()
    # So transformers reads where the mask ends.
    scores = objective.forward(model, objective.tensors(batch, torch.device("cpu"))).detach()
    for row, length in enumerate(lengths.tolist()):
        alone = model(torch.from_numpy(batch.arrays["input_ids"][row : row + 1, :length])).logits
        assert float(scores[row]) == pytest.approx(float(alone.detach()), abs=1e-5)
    every = {number for number, token in TOKENIZER.added_tokens_decoder.items() if token.special}
    with pytest.raises(ModelError, match="no special token to pad with"):
        padding_for_scores(TOKENIZER, every)


def test_scores_are_in_fp32_under_autocast() -> None:
    objective, rows, model = setting()
    batch = rows.batch(0, 12)
    tensors = objective.tensors(batch, torch.device("cpu"))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = objective.forward(model, tensors, batch.extra["layout"])
    assert scores.dtype == torch.float32 and not torch.equal(scores, scores.bfloat16().float())


def test_the_token_that_pads_still_learns_where_it_stands_in_text() -> None:
    model = scorer(TOKENIZER, pad_token_id=3)
    assert model.model.embed_tokens.padding_idx == 3
    pad_with(model, chat_tokenizer(), 5)
    assert model.model.embed_tokens.padding_idx is None and model.config.pad_token_id == 5


def test_only_a_head_of_one_score_is_a_reward_model_s() -> None:
    assert reward_layer(scorer(TOKENIZER)).out_features == 1
    model = scorer(TOKENIZER)
    model.score = nn.Linear(32, 2)
    with pytest.raises(ModelError, match="one score"):
        reward_layer(model)


def test_plackett_luce_refuses_what_it_cannot_hold() -> None:
    many = {"prompt": "a", "completions": [chr(97 + n) for n in range(13)], "ranks": list(range(1, 14))}
    with pytest.raises(DataError, match="13 answers"):
        objective_of(ranking_loss="plackett_luce").rows(store_of([many], TOKENIZER), LENGTH, training=True)


def test_a_head_starts_small_and_references_end_at_0() -> None:
    head = nn.Linear(4095, 1)
    initialize_reward_head(head, torch.Generator().manual_seed(0))
    # Standard errors: 1/64 of the mean's, 1/√(2·4095) of the deviation's.
    assert head.weight.mean().item() == pytest.approx(0, abs=4 / 64 / 64)
    assert head.weight.std().item() == pytest.approx(1 / 64, rel=4 / 90)
    assert head.bias.item() == 0
    again = nn.Linear(4095, 1, bias=False, dtype=torch.bfloat16)
    initialize_reward_head(again, torch.Generator().manual_seed(0))
    assert torch.equal(again.weight, head.weight.bfloat16())
    config, scores = scorer(TOKENIZER).config, torch.tensor([1.0, 2.0, 6.0])
    shift = set_reward_shift(config, scores)
    assert float((scores + shift).mean()) == pytest.approx(0) and config.reward_shift == shift
    with pytest.raises(ModelError, match="no reference"):
        set_reward_shift(config, scores[:0])


def test_what_is_told_of_held_out_prompts() -> None:
    sure = [Scored([3.0, 0.0, -3.0], [1, 2, 3], [5, 9, 2]), Scored([0.0, 2.0], [1, 2], [1, 4])]
    scores = held_out_scores(sure)
    assert scores["longer_accuracy"] == pytest.approx(2 / 4)
    told = report(sure)
    assert (told["prompts"], told["pairs"], told["accuracy"]) == (2, 4, 0.75)
    assert told["accuracy_interval"] == [0.0, 1.0] and told["chance"] == 0.5
    assert sum(each["pairs"] for each in told["calibration"]) == 4
    histogram = told["histogram"]
    assert (sum(histogram["all"]), sum(histogram["best"]), sum(histogram["worst"])) == (5, 2, 2)
    assert len(histogram["edges"]) == len(histogram["all"]) + 1
    assert interval([np.array([1.0, 1.0]), np.array([1.0])]) == [1.0, 1.0]
    assert report([Scored([1.0], [1], [1])])["pairs"] == 0


def test_rows_are_shown_with_each_answer_and_where_its_score_is_read() -> None:
    objective, rows, _ = setting()
    objective.form.is_shared = False
    views = objective.view(rows.batch(0, 2))
    assert len(views) == 2
    for view in views:
        ranks = [int(stream.name.rpartition(" ")[2]) for stream in view.streams]
        assert ranks == sorted(ranks) and len(ranks) >= 2
        for stream in view.streams:
            (scored,) = [token for token in stream.tokens if token.state == "supervised"]
            assert scored.id == TOKENIZER.eos_token_id and "score" in scored.note


def test_samples_are_scored_answers() -> None:
    objective, _, model = setting()
    held_out = store_of(rankings(6), TOKENIZER, "eval")
    objective.rows(held_out, LENGTH, training=False)
    prompts = objective.default_prompts(held_out)
    assert len(prompts) == 3
    with torch.no_grad():
        lines = objective.sample(model, prompts[0])["text"].splitlines()
        own = objective.sample(model, '{"prompt": "say one", "completions": ["two", "nine"]}')
    values = [float(line.split()[0]) for line in lines]
    assert values == sorted(values, reverse=True) and "rank 1" in "".join(lines)
    assert len(own["text"].splitlines()) == 2
    with pytest.raises(DataError, match="scores answers"):
        objective.sample(model, "say one")
