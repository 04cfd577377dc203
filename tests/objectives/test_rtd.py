"""Replaced token detection against transformers' own models, and where its gradients go."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_rows import (
    Setting,
    gradients,
    one_by_one,
)
from transformers import BertConfig, BertForMaskedLM, ElectraForPreTraining

from workbench.errors import ModelError
from workbench.models.replaced_token import Replacements, sample_tokens
from workbench.objectives.base import Batch, Totals
from workbench.objectives.masked_text import IGNORE


class Pair(Setting):
    """With a generator of half the discriminator's width."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        sizes = {"model__generator_size": 0.5, "model__embedding_size": 24}
        super().__init__(folder, "electra", "rtd", **sizes, **changes)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, Replacements]:
        """The places of the masks, and what the pair makes of a batch."""
        tensors = self.tensors(batch)
        places = (tensors["targets"].flatten() != IGNORE).nonzero().squeeze(1)
        output = self.model(
            input_ids=tensors["input_ids"],
            position_ids=tensors["position_ids"],
            document_ids=tensors["groups"],
            places=places,
            uniforms=tensors["uniforms"].flatten()[places],
        )
        return places, output


def test_the_loss_is_that_of_transformers(tmp_path: Path) -> None:
    here = Pair(tmp_path, data__packing=False)
    batch = here.rows.batch(0, 7)
    tensors = here.tensors(batch)
    attention_mask = (tensors["groups"] >= 0).long()
    assert 0 in attention_mask
    generator = here.model.generator(
        input_ids=tensors["input_ids"], attention_mask=attention_mask, labels=tensors["targets"]
    )
    places, output = here.forward(batch)
    torch.testing.assert_close(
        output.generator_logits, generator.logits.flatten(0, 1)[places], rtol=1e-5, atol=1e-6
    )
    corrupted = tensors["input_ids"].flatten().scatter(0, places, output.sampled).view_as(attention_mask)
    originals = torch.where(tensors["targets"] == IGNORE, tensors["input_ids"], tensors["targets"])
    labels = (corrupted != originals).long()
    judged = here.model.discriminator(input_ids=corrupted, attention_mask=attention_mask, labels=labels)
    found = here.loss(batch)
    means = found.sums / torch.tensor(batch.counts)
    assert batch.counts == (len(places), int(attention_mask.sum()))
    assert means[0].item() == pytest.approx(generator.loss.item(), abs=1e-5)
    assert means[1].item() == pytest.approx(judged.loss.item(), abs=1e-5)
    assert here.objective.terms == ("generator", "discriminator")
    assert here.objective.weights == (1.0, 50.0)
    real = attention_mask.bool()
    flagged, replaced = (judged.logits > 0)[real], labels[real].bool()
    assert found.stats.tolist() == [
        (generator.logits.argmax(-1) == tensors["targets"]).sum(),
        replaced.sum(),
        (flagged & replaced).sum(),
        flagged.sum(),
        (flagged == replaced).sum(),
    ]


def test_all_selected_tokens_are_masked_and_have_a_number(tmp_path: Path) -> None:
    here = Pair(tmp_path)
    batch = here.rows.batch(0, here.rows.rows_per_epoch(0))
    chosen = batch.arrays["targets"] != IGNORE
    assert (batch.arrays["input_ids"][chosen] == here.tokenizer.mask_token_id).all()
    uniforms = batch.arrays["uniforms"]
    assert not uniforms[~chosen].any()
    assert 0 <= uniforms[chosen].min() < 0.1 and 0.9 < uniforms[chosen].max() < 1
    again = Pair(tmp_path).rows.batch(2, 1).arrays["uniforms"]
    assert (again == uniforms[2:3]).all()


def test_a_sample_is_drawn_as_its_probabilities_say() -> None:
    torch.manual_seed(3)
    logits = torch.randn(1, 12).mul(2).expand(60_000, -1)
    uniforms = torch.rand(60_000, dtype=torch.float64)
    counts = torch.bincount(sample_tokens(logits, uniforms), minlength=12)
    expected = logits[0].softmax(-1) * 60_000
    squares = ((counts - expected) ** 2 / expected).sum().item()
    assert squares < 31.3, "the 99.9 % point of a chi-square of 11 degrees of freedom"
    # Without chance: equally spaced numbers give each token its share, to a token.
    evenly = sample_tokens(logits[:1000], (torch.arange(1000) + 0.5) / 1000)
    assert (torch.bincount(evenly, minlength=12) / 1000 - logits[0].softmax(-1)).abs().max() <= 1e-3
    assert (evenly.diff() >= 0).all()


def test_a_sample_is_a_token_at_both_ends() -> None:
    logits = torch.zeros(3, 30_000)
    ends = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert sample_tokens(logits, ends).tolist() == [0, 15_000, 29_999]
    certain = torch.full((2, 5), -1e4).index_fill(1, torch.tensor([3]), 0.0)
    assert sample_tokens(certain, torch.tensor([0.0, 0.999])).tolist() == [3, 3]


def test_embeddings_are_one_tensor(tmp_path: Path) -> None:
    pair = Pair(tmp_path).model
    ours, theirs = pair.discriminator.electra.embeddings, pair.generator.electra.embeddings
    assert ours.word_embeddings.weight is theirs.word_embeddings.weight
    assert pair.generator.generator_lm_head.weight is ours.word_embeddings.weight
    assert ours.position_embeddings.weight is theirs.position_embeddings.weight
    assert ours.token_type_embeddings.weight is theirs.token_type_embeddings.weight
    assert pair.generator.config.hidden_size == 16 and pair.discriminator.config.hidden_size == 32


def test_no_gradient_passes_through_the_sampling(tmp_path: Path) -> None:
    here = Pair(tmp_path)
    batch, pair = here.rows.batch(0, 4), here.model
    owners = {
        part: {f"{part}.{name}": parameter for name, parameter in getattr(pair, part).named_parameters()}
        for part in ("generator", "discriminator")
    }
    everywhere = {part: {id(p) for p in own.values()} for part, own in owners.items()}
    shared = everywhere["generator"] & everywhere["discriminator"]
    assert len(shared) == 3, "token, position and segment embeddings"
    for term, part, other in ((1, "generator", "discriminator"), (0, "discriminator", "generator")):
        pair.zero_grad(set_to_none=True)
        here.loss(batch).sums[term].backward()
        for name, parameter in owners[part].items():
            if id(parameter) not in shared:
                assert parameter.grad is None or not parameter.grad.any(), name
        for name, parameter in owners[other].items():
            # The key's bias shifts all scores of a query alike, which a softmax does not see.
            if not name.endswith(("key.bias", "token_type_embeddings.weight")):
                assert parameter.grad is not None and parameter.grad.any(), name
    # Not only nothing: the discriminator's logits do not depend on the generator at all.
    pair.zero_grad(set_to_none=True)
    here.forward(batch)[1].discriminator_logits.sum().backward()
    assert all(p.grad is None for p in owners["generator"].values() if id(p) not in shared)


def test_the_discriminators_gradient_is_that_of_its_input_alone(tmp_path: Path) -> None:
    here = Pair(tmp_path, data__packing=False)
    batch = here.rows.batch(0, 5)
    tensors = here.tensors(batch)
    ours = gradients(here.model, here.loss(batch).sums[1])
    places, output = here.forward(batch)
    corrupted = tensors["input_ids"].flatten().scatter(0, places, output.sampled)
    originals = torch.where(tensors["targets"] == IGNORE, tensors["input_ids"], tensors["targets"]).flatten()
    judged = here.model.discriminator(
        input_ids=corrupted.view_as(tensors["input_ids"]),
        attention_mask=(tensors["groups"] >= 0).long(),
        labels=(corrupted != originals).view_as(tensors["input_ids"]).long(),
    )
    theirs = gradients(here.model, judged.loss * batch.counts[1])
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-4, msg=name)


def test_a_discriminator_that_answers_the_base_rate(tmp_path: Path) -> None:
    here = Pair(tmp_path)

    class BaseRate(torch.nn.Module):
        """Says 0.10 of every token; its generator is wrong at two masks in three, a tenth of the row."""

        def forward(self, input_ids: torch.Tensor, places: torch.Tensor, **_: Any) -> Replacements:
            sampled = torch.where(torch.arange(len(places)) < 4, 5, 9)
            logits = torch.full(input_ids.shape, math.log(0.1 / 0.9))
            return Replacements(torch.zeros(len(places), 380), sampled, logits)

    targets = np.full((1, 40), IGNORE)
    targets[0, :6] = 9
    arrays: dict[str, Any] = {
        "input_ids": np.full((1, 40), 3),
        "targets": targets,
        "position_ids": np.arange(40)[None],
        "groups": np.zeros((1, 40), np.int64),
        "uniforms": np.zeros((1, 40)),
    }
    batch = Batch(arrays, (6, 40), 40)
    output = here.objective.loss(BaseRate(), here.tensors(batch), batch)
    assert (output.sums[1] / 40).item() == pytest.approx(0.3251, abs=5e-5)
    assert (output.sums[0] / 6).item() == pytest.approx(math.log(380), rel=1e-6)
    assert output.stats.tolist()[1:] == [4, 0, 0, 36]


def test_the_first_losses_are_those_of_guessing(tmp_path: Path) -> None:
    here = Pair(tmp_path)
    batch = here.rows.batch(0, 8)
    generator, discriminator = (here.loss(batch).sums / torch.tensor(batch.counts)).tolist()
    assert generator == pytest.approx(math.log(here.model.config.vocab_size), rel=0.03)
    assert discriminator == pytest.approx(math.log(2), abs=0.1)


def test_packed_with_isolation_equals_unpacked(tmp_path: Path) -> None:
    here = Pair(tmp_path)
    masked = [here.rows.mask(row) for row in here.rows.source.rows(0, 4)]
    alone = one_by_one(masked)
    assert len(alone) > 4
    packed, unpacked = here.rows.assemble(masked), here.rows.assemble(alone)
    assert packed.counts == unpacked.counts
    one, other = here.loss(packed), here.loss(unpacked)
    assert one.stats.tolist() == other.stats.tolist()
    weights = torch.tensor(here.objective.weights)
    assert one.sums.tolist() == pytest.approx(other.sums.tolist(), rel=1e-5)
    theirs = gradients(here.model, (other.sums * weights).sum())
    for name, gradient in gradients(here.model, (one.sums * weights).sum()).items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-3, atol=1e-3, msg=name)


def test_metrics_are_the_detection_of_replaced_tokens(tmp_path: Path) -> None:
    here = Pair(tmp_path)
    totals = Totals(
        {"generator": 30.0, "discriminator": 20.0},
        {"generator": 15, "discriminator": 100},
        {"generator_correct": 3, "replaced": 10, "found": 4, "flagged": 5, "right": 93},
    )
    assert here.objective.metrics(totals, training=True) == pytest.approx(
        {
            "generator_loss": 2.0,
            "discriminator_loss": 0.2,
            "generator_accuracy": 0.2,
            "discriminator_accuracy": 0.93,
            "discriminator_precision": 0.8,
            "discriminator_recall": 0.4,
            "discriminator_f1": 8 / 15,
            "replaced_share": 0.1,
        }
    )
    assert here.objective.loss_of(totals) == pytest.approx(2 + 50 * 0.2)


def test_the_kept_discriminator_gives_the_same_logits(tmp_path: Path) -> None:
    here = Pair(tmp_path, data__packing=False)
    folder = tmp_path / "kept"
    here.model.save_pretrained(folder)
    loaded, told = ElectraForPreTraining.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    batch = here.rows.batch(0, 3)
    tensors = here.tensors(batch)
    places, output = here.forward(batch)
    corrupted = tensors["input_ids"].flatten().scatter(0, places, output.sampled)
    real = tensors["groups"] >= 0
    logits = loaded.eval()(input_ids=corrupted.view_as(real).long(), attention_mask=real.long()).logits
    torch.testing.assert_close(logits[real], output.discriminator_logits[real], rtol=1e-5, atol=1e-6)


def test_the_view_says_what_the_generator_reads(tmp_path: Path) -> None:
    here = Pair(tmp_path)
    batch = here.rows.batch(0, 2)
    for row, view in enumerate(here.objective.view(batch)):
        (stream,) = view.streams
        states = {token.state for token in stream.tokens if token.target is not None}
        assert states == {"masked"}
        groups = batch.arrays["groups"][row]
        assert (stream.attends == (groups[:, None] == groups[None, :])).all()
        assert any("sample" in note for note in view.notes)


def test_a_sample_marks_what_was_replaced_and_what_is_taken_for_it(tmp_path: Path) -> None:
    here = Pair(tmp_path)
    bias = here.model.discriminator.discriminator_predictions.dense_prediction.bias
    prompt = "the king and queen of a small country were walking along river"
    with torch.no_grad():
        bias.fill_(-20.0)
        found = here.objective.sample(here.model, prompt)
        again = here.objective.sample(here.model, prompt)
        bias.fill_(20.0)
        all_of_them = here.objective.sample(here.model, prompt)
    assert found == again
    marks = re.findall(r"\[(.+?)→(.+?) 0\.00\]", found["text"])
    assert 0 < len(marks) <= found["prompt"].count("[MASK]")
    assert all(original != sample for original, sample in marks)
    restored = re.sub(r"\[(.+?)→(.+?) 0\.00\]", r"\1", found["text"])
    assert restored.replace(" ", "") == prompt.replace(" ", "")
    tokens = len(here.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    assert all_of_them["text"].count(" 1.00]") == tokens
    with torch.no_grad():
        asked = here.objective.sample(here.model, "the king and[MASK] of")
    assert asked["text"].count("?→") == 1 and asked["prompt"] == "the king and[MASK] of"


def test_a_model_that_is_no_pair_is_refused(tmp_path: Path) -> None:
    here = Pair(tmp_path)
    here.objective.check(here.model)
    with pytest.raises(ModelError, match="no generator and discriminator"):
        here.objective.check(BertForMaskedLM(BertConfig(hidden_size=8, num_attention_heads=1)))


def test_a_few_steps_teach_both(tmp_path: Path) -> None:
    here = Pair(tmp_path)
    optimizer = torch.optim.AdamW(here.model.parameters(), lr=3e-3)
    weights, losses = torch.tensor(here.objective.weights), []
    for step in range(80):
        batch = here.rows.batch(step * 8, 8)
        means = here.loss(batch).sums / torch.tensor(batch.counts)
        (means * weights).sum().backward()
        torch.nn.utils.clip_grad_norm_(here.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(means.tolist())
    assert np.mean(losses[-5:], 0)[0] < losses[0][0] - 0.5
    assert np.mean(losses[-5:], 0)[1] < 0.45
