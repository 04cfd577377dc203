"""Masked language modelling against transformers' own loss, and what masks and packing must not change."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_rows import CPU, TEXTS, Setting, gradients, one_by_one, recipe_of, store_of, tokenizer_for
from torch.nn import functional as F
from transformers import RobertaConfig, RobertaForMaskedLM

from workbench.errors import DataError, ModelError
from workbench.objectives.base import Batch, Totals
from workbench.objectives.encoder import call_masked, call_rows, head_of
from workbench.objectives.masked_text import IGNORE
from workbench.objectives.mlm import MaskedLanguageModeling
from workbench.objectives.pseudo_perplexity import one_at_a_time

FAMILIES = ["bert", "modernbert", "electra"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_that_of_transformers(tmp_path: Path, family: str) -> None:
    here = Setting(tmp_path, family, data__packing=False)
    batch = here.rows.batch(0, 7)
    tensors = here.tensors(batch)
    attention_mask = (tensors["groups"] >= 0).long()
    assert 0 in attention_mask, "rows of several lengths"
    theirs = here.model(
        input_ids=tensors["input_ids"], attention_mask=attention_mask, labels=tensors["targets"]
    ).loss
    ours = here.loss(batch).sums
    assert ours.shape == (1,)
    assert ours[0].item() / batch.counts[0] == pytest.approx(theirs.item(), abs=1e-5)
    assert batch.num_tokens == attention_mask.sum()


def test_positions_of_roberta_are_counted_from_behind_its_padding(tmp_path: Path) -> None:
    here = Setting(tmp_path, data__packing=False)
    pad = here.tokenizer.pad_token_id
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    here.model = RobertaForMaskedLM(
        RobertaConfig(vocab_size=380, max_position_embeddings=60, pad_token_id=pad, **sizes)
    ).eval()
    here.objective.check(here.model)
    batch = here.rows.batch(0, 5)
    tensors = here.tensors(batch)
    real = (tensors["groups"] >= 0).long()
    theirs = here.model(input_ids=tensors["input_ids"], attention_mask=real, labels=tensors["targets"])
    assert here.loss(batch).sums[0].item() / batch.counts[0] == pytest.approx(theirs.loss.item(), abs=1e-5)


def test_the_loss_of_pairs_is_that_of_transformers(tmp_path: Path) -> None:
    here = Setting(tmp_path, objective__next_sentence_prediction=True)
    assert type(here.model).__name__ == "BertForPreTraining"
    assert here.objective.terms == ("mlm", "nsp") and here.objective.weights == (1.0, 1.0)
    batch = here.rows.batch(0, 9)
    tensors = here.tensors(batch)
    output = here.model(
        input_ids=tensors["input_ids"],
        attention_mask=(tensors["groups"] >= 0).long(),
        token_type_ids=tensors["token_type_ids"],
        labels=tensors["targets"],
        next_sentence_label=tensors["next_sentence"],
    )
    found = here.loss(batch)
    assert batch.counts[1] == 9
    ours = (found.sums / torch.tensor(batch.counts)).sum()
    assert ours.item() == pytest.approx(output.loss.item(), abs=1e-5)
    right = (output.seq_relationship_logits.argmax(-1) == tensors["next_sentence"]).sum()
    assert found.stats[1] == right


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_exist_only_at_the_selected_places_and_are_the_models_own(tmp_path: Path, family: str) -> None:
    here = Setting(tmp_path, family)
    assert head_of(here.model) is not None
    tensors = here.tensors(here.rows.batch(0, 3))
    places = (tensors["targets"].flatten() != IGNORE).nonzero().squeeze(1)
    logits, _ = call_masked(here.model, tensors, places)
    whole = call_rows(here.model, tensors).logits
    assert whole.shape[:2] == tensors["input_ids"].shape, "the hook is gone"
    assert len(logits) == len(places) < whole.shape[0] * whole.shape[1] / 5
    torch.testing.assert_close(logits, whole.flatten(0, 1)[places], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_with_isolation_equals_unpacked(tmp_path: Path, family: str) -> None:
    local: dict[str, Any] = {"model__local_attention": 8} if family == "modernbert" else {}
    here = Setting(tmp_path, family, **local)
    masked = [here.rows.mask(row) for row in here.rows.source.rows(0, 4)]
    alone = one_by_one(masked)
    assert len(alone) > 4
    packed, unpacked = here.rows.assemble(masked), here.rows.assemble(alone)
    assert packed.counts == unpacked.counts and packed.num_tokens == unpacked.num_tokens
    one, other = here.loss(packed).sums[0], here.loss(unpacked).sums[0]
    assert one.item() == pytest.approx(other.item(), rel=1e-5)
    theirs = gradients(here.model, other)
    for name, gradient in gradients(here.model, one).items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-5, msg=name)


def test_without_isolation_a_row_is_one_text(tmp_path: Path) -> None:
    here = Setting(tmp_path, data__isolate_documents=False)
    batch = here.rows.batch(0, 4)
    groups, positions = batch.arrays["groups"], batch.arrays["position_ids"]
    assert batch.extra["document_ids"].max() > 0 and set(np.unique(groups)) <= {0, -1}
    for group, position in zip(groups, positions, strict=True):
        assert (position[group == 0] == np.arange((group == 0).sum())).all()
    view = here.objective.view(batch)[0].streams[0]
    real = groups[0] == 0
    assert view.attends[np.ix_(real, real)].all()


def contents(batch: Batch) -> list[list[Any]]:
    """The rows of a batch without their padding."""
    real = batch.extra["document_ids"] >= 0
    return [
        [array[row][keep].tolist() if array.ndim > 1 else array[row] for array in batch.arrays.values()]
        for row, keep in enumerate(real)
    ]


@pytest.mark.parametrize(
    "changes", [{}, {"data__packing": False}, {"objective__next_sentence_prediction": True}]
)
def test_masks_follow_from_the_number_of_the_row(tmp_path: Path, changes: dict[str, Any]) -> None:
    here = Setting(tmp_path, objective__whole_word_mask="data__packing" in changes, **changes)
    count = here.rows.rows_per_epoch(0) + 2
    together = contents(here.rows.batch(0, count))
    again = Setting(tmp_path, objective__whole_word_mask="data__packing" in changes, **changes)
    for size in (1, 3):
        apart = [row for start in range(0, count, size) for row in contents(again.rows.batch(start, size))]
        assert apart[:count] == together


def test_masks_are_drawn_anew_in_each_epoch_and_always_alike_in_evaluation(tmp_path: Path) -> None:
    here = Setting(tmp_path, data__packing=False, data__shuffle=False)
    count = here.rows.rows_per_epoch(0)
    first, second = here.rows.batch(0, count), here.rows.batch(count, count)
    originals = [
        np.where(b.arrays["targets"] == IGNORE, b.arrays["input_ids"], b.arrays["targets"])
        for b in (first, second)
    ]
    assert (originals[0] == originals[1]).all(), "the same text"
    chosen = [batch.arrays["targets"] != IGNORE for batch in (first, second)]
    both = (chosen[0] & chosen[1]).sum() / chosen[0].sum()
    assert both == pytest.approx(0.15, abs=0.13)
    training, held_out = here.rows, here.eval_rows
    assert training.side != held_out.side
    assert contents(held_out.batch(0, 4)) == contents(held_out.batch(0, 4))


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("packing", [False, True])
def test_every_row_has_its_share_and_no_special_token(
    tmp_path: Path, whole_words: bool, packing: bool
) -> None:
    here = Setting(tmp_path, objective__whole_word_mask=whole_words, data__packing=packing)
    special = set(here.tokenizer.all_special_ids)
    for row in here.rows.source.rows(0, here.rows.rows_per_epoch(0)):
        framed, masked, _ = here.rows.mask(row)
        chosen = masked.targets != IGNORE
        text = here.rows.may_hide(framed)
        assert text.sum() == sum(len(piece.tokens) for piece in row.pieces)
        assert not special & set(masked.targets[chosen].tolist())
        assert set(masked.input_ids[chosen].tolist()) & special <= {here.tokenizer.mask_token_id}
        wanted = max(1, round(0.15 * text.sum()))
        if not whole_words:
            assert chosen.sum() == wanted
            continue
        words = here.objective.table.words(framed.tokens, text)
        shares = np.bincount(words, chosen) / np.maximum(np.bincount(words), 1)
        assert set(shares) <= {0.0, 1.0}
        assert chosen.sum() >= 1 and abs(int(chosen.sum()) - wanted) <= 3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_loss_is_that_of_guessing(tmp_path: Path, family: str) -> None:
    here = Setting(tmp_path, family)
    batch = here.rows.batch(0, 8)
    vocabulary = here.model.config.vocab_size
    assert here.loss(batch).sums[0].item() / batch.counts[0] == pytest.approx(math.log(vocabulary), rel=0.03)


def test_a_batch_with_nothing_selected_has_a_loss_of_nothing(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    batch = here.rows.batch(0, 2)
    batch.arrays["targets"][:] = IGNORE
    loss = here.loss(batch).sums[0]
    assert loss.item() == 0
    assert not any(gradient.any() for gradient in gradients(here.model, loss).values())


def test_pseudo_perplexity_masks_one_token_at_a_time(tmp_path: Path) -> None:
    here = Setting(tmp_path, objective__pseudo_perplexity_tokens=20)
    rows, total, places = here.eval_rows, 0.0, set()
    masked = list(one_at_a_time(rows, 5, 20))
    assert len(masked) == 20
    for framed, hidden, _ in masked:
        (place,) = np.flatnonzero(hidden.targets != IGNORE)
        assert (np.flatnonzero(hidden.input_ids != framed.tokens) == [place]).all()
        assert hidden.input_ids[place] == here.tokenizer.mask_token_id
        places.add((framed.tokens.tobytes(), int(place)))
        piece = framed.pieces == framed.pieces[place]
        ids, labels = (torch.from_numpy(field[piece])[None] for field in hidden)
        total += here.model(input_ids=ids, labels=labels).loss.item()
    assert len(places) == 20, "no token twice"
    found = here.objective.extra_evaluation(here.model, rows, CPU, 5)
    assert found["pseudo_perplexity"] == pytest.approx(math.exp(total / 20), rel=1e-5)
    silent = Setting(tmp_path, objective__pseudo_perplexity_tokens=0)
    assert silent.objective.extra_evaluation(here.model, rows, CPU, 5) == {}


def test_metrics_are_means_over_what_was_selected(tmp_path: Path) -> None:
    here = Setting(tmp_path, objective__next_sentence_prediction=True)
    totals = Totals({"mlm": 50.0, "nsp": 6.0}, {"mlm": 20, "nsp": 10}, {"correct": 5, "nsp_correct": 7})
    assert here.objective.metrics(totals, training=True) == {
        "mean_token_accuracy": 0.25,
        "nsp_accuracy": 0.7,
        "mlm_loss": 2.5,
        "nsp_loss": 0.6,
    }
    assert here.objective.loss_of(totals) == pytest.approx(3.1)


def test_accuracy_counts_the_likeliest_token(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    batch = here.rows.batch(0, 6)
    tensors = here.tensors(batch)
    predicted = call_rows(here.model, tensors).logits.argmax(-1)
    assert here.loss(batch).stats[0] == (predicted == tensors["targets"]).sum()


def test_pairs_of_one_document_are_refused(tmp_path: Path) -> None:
    here = Setting(tmp_path, objective__next_sentence_prediction=True)
    lonely = store_of(tmp_path, here.tokenizer, TEXTS[3:4], side="eval")
    with pytest.raises(DataError, match="needs two documents"):
        here.objective.rows(lonely, 48, training=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_isolation_is_checked(tmp_path: Path, family: str) -> None:
    here = Setting(tmp_path, family)
    here.model.train()
    here.objective.check(here.model)
    assert here.model.training
    original = here.model.forward
    here.model.forward = lambda **inputs: original(**{**inputs, "attention_mask": None})
    with pytest.raises(ModelError, match="does not keep packed documents apart") as caught:
        here.objective.check(here.model)
    assert "isolate_documents=false" in str(caught.value.hint)


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    with pytest.raises(ModelError, match="no cls_token|no mask_token"):
        MaskedLanguageModeling(recipe_of("bert", "mlm"), tokenizer_for("t5"))


def test_a_few_steps_teach_it_something(tmp_path: Path) -> None:
    here = Setting(tmp_path, objective__next_sentence_prediction=True)
    optimizer = torch.optim.AdamW(here.model.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        batch = here.rows.batch(step * 8, 8)
        output = here.loss(batch)
        (output.sums / torch.tensor(batch.counts)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(output.sums[0].item() / batch.counts[0])
    assert np.mean(losses[-5:]) < losses[0] - 1


def test_cross_entropy_is_in_fp32(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    batch = here.rows.batch(0, 4)
    here.model.bfloat16()
    tensors = here.tensors(batch)
    places = (tensors["targets"].flatten() != IGNORE).nonzero().squeeze(1)
    logits, _ = call_masked(here.model, tensors, places)
    assert logits.dtype == torch.bfloat16
    expected = F.cross_entropy(logits.float(), tensors["targets"].flatten()[places], reduction="sum")
    assert here.loss(batch).sums[0].item() == pytest.approx(expected.item(), rel=1e-6)
