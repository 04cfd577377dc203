"""Denoising: what the encoder reads, what the decoder is to say, and the loss of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from denoise_rows_setting import Denoise
from encoder_rows import LENGTH, TEXTS, document, gradients, model_of, recipe_of, store_of, tokenizer_for
from transformers import BartForConditionalGeneration, T5ForConditionalGeneration

from workbench.data.corruption.spans import NO_SPAN, restore
from workbench.errors import ModelError
from workbench.objectives import OBJECTIVES, Batch, Totals
from workbench.objectives.clm import IGNORE

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("t5", {}),
    ("t5", {"data__isolate_documents": False}),
    ("t5", {"data__packing": False}),
    ("bart", {}),
    ("bart", {"data__packing": True, "data__isolate_documents": False}),
]


def contents(batch: Batch) -> list[bytes]:
    """Rows without what padding to the longest of the batch adds."""
    arrays, found = batch.arrays, []
    for row in range(len(arrays["input_ids"])):
        real, said = arrays["groups"][row] >= 0, arrays["decoder_groups"][row] >= 0
        parts = [arrays[name][row][real] for name in ("input_ids", "groups")]
        parts += [arrays[name][row][said] for name in ("decoder_input_ids", "targets", "spans")]
        found.append(b"|".join(part.astype(np.int64).tobytes() for part in parts))
    return found


def texts_of(here: Denoise, batch: Batch, row: int) -> list[tuple[list[int], list[int], list[int]]]:
    """Of each text of a row: what is read, what the decoder reads, what it is to say."""
    arrays, found = batch.arrays, []
    for text in range(int(arrays["groups"][row].max()) + 1):
        own, said = arrays["groups"][row] == text, arrays["decoder_groups"][row] == text
        found.append(
            (
                arrays["input_ids"][row][own].tolist(),
                arrays["decoder_input_ids"][row][said].tolist(),
                arrays["targets"][row][said].tolist(),
            )
        )
    return found


@pytest.mark.parametrize("packing", [True, False])
def test_t5_rows_restore_to_their_text(tmp_path: Path, packing: bool) -> None:
    here = Denoise(tmp_path, data__packing=packing)
    eos, pad = here.tokenizer.eos_token_id, here.tokenizer.pad_token_id
    first = here.tokenizer.convert_tokens_to_ids("<extra_id_0>")
    sentinels = here.objective.sentinels
    assert sentinels[0] == first and len(sentinels) == 100
    batch, cropped = here.all_rows(), 0
    for number, row in enumerate(here.rows.source.rows(0, here.rows.rows_per_epoch(0))):
        found = texts_of(here, batch, number)
        restored = []
        for read, start, said in found:
            assert read[-1] == said[-1] == eos, "an end on both sides"
            assert start == [pad, *said[:-1]], "shifted by one, from padding on"
            assert said[0] == first, "sentinels begin anew"
            used = [token for token in read if token in sentinels]
            assert used == sentinels[: len(used)].tolist() == [t for t in said if t in sentinels]
            body = restore(np.array(read[:-1]), np.array(said[:-1]), sentinels)
            noise, spans = here.rows.noise.counts(len(body))
            assert len(said) == noise + spans + 1 and len(used) == spans
            restored.append(body)
        whole = np.concatenate([piece.tokens for piece in row.pieces])
        joined = np.concatenate(restored)
        assert (joined == whole[: len(joined)]).all()
        assert len(whole) - len(joined) == batch.extra["cropped"][number]
        cropped += batch.extra["cropped"][number]
    report = here.rows.report()
    assert report["cropped"] == cropped
    assert report["padding"] == report["rows"] * LENGTH - int((batch.arrays["groups"] >= 0).sum())
    assert report["target_tokens"] == batch.counts[0] == int((batch.arrays["targets"] != IGNORE).sum())
    assert cropped == 0 or packing


def test_a_long_document_fills_its_rows_exactly(tmp_path: Path) -> None:
    here = Denoise(tmp_path, texts=[document(1, 900)], data__shuffle=False)
    batch = here.all_rows()
    assert (batch.arrays["groups"][:-1] == 0).all() and len(batch.arrays["groups"]) > 10
    # Of 52 tokens, 8 are cut out in 3 spans: 47 and an end are read, 11 and an end are said.
    assert set((batch.arrays["targets"][:-1] != IGNORE).sum(-1)) == {12}
    assert (batch.arrays["targets"][:-1, 11] == here.tokenizer.eos_token_id).all()
    assert here.rows.report()["cropped"] == 0
    apart = Denoise(tmp_path, texts=[document(1, 900)], data__packing=False)
    assert apart.rows.source.stride == here.rows.source.stride == here.rows.noise.raw_length(LENGTH - 1)


def test_many_small_documents_are_cut_to_fit_and_counted(tmp_path: Path) -> None:
    """Each rounds its noise up to a token and a span, so that less is cut out than of one long text."""
    here = Denoise(tmp_path, texts=[document(seed, 1 + seed % 3) for seed in range(150)])
    batch, report = here.all_rows(), here.rows.report()
    assert report["cropped"] == sum(batch.extra["cropped"]) > 0
    assert max(batch.extra["cropped"]) <= 8
    assert report["padding"] == int((batch.arrays["groups"] < 0).sum())
    assert report["target_tokens"] == batch.counts[0]
    notes = [view.notes for view in here.objective.view(batch)]
    assert [bool(note) for note in notes] == [bool(count) for count in batch.extra["cropped"]]


def test_without_isolation_a_row_is_one_text(tmp_path: Path) -> None:
    here = Denoise(tmp_path, data__isolate_documents=False)
    eos, pad, batch = here.tokenizer.eos_token_id, here.tokenizer.pad_token_id, here.all_rows()
    several = 0
    for number, row in enumerate(here.rows.source.rows(0, here.rows.rows_per_epoch(0))):
        ((read, start, said),) = texts_of(here, batch, number)
        assert start == [pad, *said[:-1]]
        body = restore(np.array(read[:-1]), np.array(said[:-1]), here.objective.sentinels)
        parts = [[*piece.tokens.tolist(), eos] for piece in row.pieces]
        assert [*body.tolist(), eos] == [token for part in parts for token in part]
        several += len(parts) > 1
    report = here.rows.report()
    assert several and report["cropped"] == 0
    assert report["padding"] == int((batch.arrays["groups"] < 0).sum())
    assert report["target_tokens"] == batch.counts[0]


def test_bart_says_the_whole_text(tmp_path: Path) -> None:
    here = Denoise(tmp_path, "bart")
    bos, eos, mask = (getattr(here.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "mask"))
    batch = here.all_rows()
    for number, row in enumerate(here.rows.source.rows(0, here.rows.rows_per_epoch(0))):
        (piece,) = row.pieces
        ((read, start, said),) = texts_of(here, batch, number)
        assert said == [bos, *piece.tokens.tolist(), eos]
        assert start == [eos, *said[:-1]], "shifted by one, from EOS on, as BART has it"
        assert read[0] == bos and read[-1] == eos and mask in read
        hidden = batch.arrays["spans"][number] != NO_SPAN
        assert hidden.sum() == max(1, round(0.3 * len(piece.tokens)))
        kept = np.array(said)[~hidden[: len(said)]].tolist()
        assert kept == [token for token in read if token != mask]
    report = here.rows.report()
    assert report["cropped"] == 0 and report["target_tokens"] == batch.counts[0]
    assert batch.arrays["input_ids"].shape[1] % 8 == 0 and batch.arrays["targets"].shape[1] % 8 == 0
    short = min(range(len(TEXTS)), key=lambda n: len(TEXTS[n]))
    tiny = Denoise(tmp_path, "bart", texts=[TEXTS[short]] * 3)
    assert tiny.rows.batch(0, 2).arrays["input_ids"].shape[1] < LENGTH


@pytest.mark.parametrize(("family", "changes"), KINDS)
def test_draws_belong_to_rows(tmp_path: Path, family: str, changes: dict[str, Any]) -> None:
    here, again = Denoise(tmp_path, family, **changes), Denoise(tmp_path, family, **changes)
    count = here.rows.rows_per_epoch(0)
    rows = contents(here.rows.batch(0, 2 * count))
    assert rows == contents(again.rows.batch(0, 2 * count)), "deterministic"
    assert rows[2:6] == [contents(here.rows.batch(row, 1))[0] for row in range(2, 6)], "for any batch size"
    assert contents(here.eval_rows.batch(0, 3)) == contents(again.eval_rows.batch(0, 3))
    other = Denoise(tmp_path, family, training__seed=6, **changes)
    assert contents(other.rows.batch(0, count)) != rows[:count]
    still = Denoise(tmp_path, family, data__shuffle=False, **changes)
    first, second = (still.rows.source.rows(epoch * count, count) for epoch in (0, 1))
    for a, b in zip(first, second, strict=True):
        assert all((x.tokens == y.tokens).all() for x, y in zip(a.pieces, b.pieces, strict=True))
    epochs = [contents(still.rows.batch(epoch * count, count)) for epoch in (0, 1)]
    changed = [a != b for a, b in zip(*epochs, strict=True)]
    assert np.mean(changed) > 0.5, "the same text, noise drawn anew (a text of three tokens has one way)"


@pytest.mark.parametrize(("family", "changes"), [KINDS[1], KINDS[2], KINDS[3], KINDS[4]])
def test_the_loss_is_that_of_transformers(tmp_path: Path, family: str, changes: dict[str, Any]) -> None:
    """With its own masks and its own shift of the labels."""
    here = Denoise(tmp_path, family, **changes)
    kinds = {"t5": T5ForConditionalGeneration, "bart": BartForConditionalGeneration}
    assert isinstance(here.model, kinds[family])
    batch = here.rows.batch(0, 5)
    tensors = here.tensors(batch)
    theirs = here.model(
        input_ids=tensors["input_ids"],
        attention_mask=(tensors["groups"] >= 0).long(),
        labels=tensors["targets"],
    )
    ours = here.loss(batch) / batch.counts[0]
    assert ours.item() == pytest.approx(theirs.loss.item(), rel=1e-5)
    real = tensors["targets"] != IGNORE
    right = (theirs.logits.argmax(-1) == tensors["targets"])[real].sum()
    output = here.objective.loss(here.model, tensors, batch)
    assert output.stats.tolist()[:3] == [right, 0, 0], "spans are for evaluations"


def test_packed_rows_are_the_same_as_their_pieces_apart(tmp_path: Path) -> None:
    here = Denoise(tmp_path)
    rows, apart = list(here.rows.source.rows(0, 6)), []
    for row in rows:
        found = here.rows.corrupt(row)
        for text in np.unique(found.input_texts):
            own, said = found.input_texts == text, found.target_texts == text
            read = (found.inputs[own], found.input_texts[own] * 0, found.marks[own])
            speak = (found.decoder_inputs[said], found.targets[said], found.target_texts[said] * 0)
            apart.append(type(found)(*read, *speak, found.spans[said], 0))
    assert len(apart) > len(rows)
    packed, single = here.rows.batch(0, 6), here.rows.assemble(apart)
    assert packed.counts == single.counts and packed.num_tokens == single.num_tokens
    losses = [here.loss(batch) for batch in (packed, single)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    both = [gradients(here.model, loss) for loss in losses]
    for name, gradient in both[0].items():
        assert torch.allclose(gradient, both[1][name], rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_implementations_of_attention_agree(tmp_path: Path, implementation: str) -> None:
    here = Denoise(tmp_path)
    batch = here.rows.batch(0, 3)
    expected = here.loss(batch).item()
    here.model.set_attn_implementation(implementation)
    assert here.loss(batch).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_every_weight_gets_a_gradient(tmp_path: Path, family: str) -> None:
    """Or several processes would wait for one that never comes."""
    here = Denoise(tmp_path, family)
    here.loss(here.rows.batch(0, 4)).backward()
    assert [name for name, weight in here.model.named_parameters() if weight.grad is None] == []


def test_the_first_loss_is_that_of_guessing(tmp_path: Path) -> None:
    here = Denoise(tmp_path, "bart")
    batch = here.rows.batch(0, 8)
    guess = math.log(here.model.config.vocab_size)
    assert here.loss(batch).item() / batch.counts[0] == pytest.approx(guess, rel=0.03)
    here = Denoise(tmp_path, "t5")
    batch = here.rows.batch(0, 8)
    # Its embeddings, which are its last layer too, have a variance of 1, and so have its logits.
    assert here.loss(batch).item() / batch.counts[0] == pytest.approx(guess + 0.5, abs=0.35)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_whole_spans_are_counted(tmp_path: Path, family: str) -> None:
    here = Denoise(tmp_path, family)
    batch = here.rows.batch(0, 4)
    tensors, spans = here.tensors(batch), batch.arrays["spans"]
    logits = torch.zeros(*spans.shape, here.model.config.vocab_size)
    logits.scatter_(-1, tensors["targets"].clamp(min=0)[:, :, None], 1.0)
    places = [(row, span) for row in range(4) for span in np.unique(spans[row]) if span != NO_SPAN]
    # All right but one token of the first span.
    row, span = places[0]
    wrong = int(np.flatnonzero(spans[row] == span)[-1])
    logits[row, wrong, 7 + int(tensors["targets"][row, wrong] == 7)] = 2.0
    here.objective.predict = lambda model, tensors: logits
    with torch.no_grad():
        stats = here.objective.loss(here.model, tensors, batch).stats
    assert stats.tolist()[:3] == [batch.counts[0] - 1, len(places), len(places) - 1]


def test_metrics(tmp_path: Path) -> None:
    objective = Denoise(tmp_path).objective
    totals = Totals({"loss": 30.0}, {"loss": 20}, {"correct": 5, "spans": 4, "spans_right": 1})
    assert objective.metrics(totals, training=True) == {"mean_token_accuracy": 0.25}
    assert objective.metrics(totals, training=False) == {
        "mean_token_accuracy": 0.25,
        "span_exact_match": 0.25,
        "perplexity": pytest.approx(math.exp(1.5)),
    }


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_few_steps_teach_it_something(tmp_path: Path, family: str) -> None:
    here = Denoise(tmp_path, family)
    optimizer = torch.optim.AdamW(here.model.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        batch = here.rows.batch(step * 8, 8)
        loss = here.loss(batch) / batch.counts[0]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < losses[0] - 1


def test_each_noise_works_with_each_family_whose_tokens_it_has(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no mask_token") as caught:
        Denoise(tmp_path, objective__noise="infilling")
    with pytest.raises(ModelError, match="no sentinels") as caught:
        Denoise(tmp_path, "bart", objective__noise="spans")
    assert "noise=infilling" in str(caught.value.hint)
    # A BART whose tokenizer has sentinels, a T5 whose tokenizer has a mask.
    for family, noise in (("bart", "spans"), ("t5", "infilling")):
        tokenizer = tokenizer_for(family, 381)
        tokens = {"extra_special_tokens": [f"<extra_id_{n}>" for n in range(40)]}
        tokenizer.add_special_tokens({"mask_token": "<mask>"} if family == "t5" else tokens)
        recipe = recipe_of(
            family, "denoise", objective__noise=noise, data__packing=family == "t5", model__vocab_size=500
        )
        objective: Any = OBJECTIVES["denoise"](recipe, tokenizer)
        rows = objective.rows(
            store_of(tmp_path, tokenizer, TEXTS, objective="denoise"), LENGTH, training=True
        )
        model = model_of(recipe, tokenizer)
        objective.check(model)
        batch = rows.batch(0, 4)
        tensors = {name: torch.from_numpy(array) for name, array in batch.arrays.items()}
        start = model.config.decoder_start_token_id
        assert (batch.arrays["decoder_input_ids"][:, 0] == start).all()
        assert math.isfinite(objective.loss(model, tensors, batch).sums.item())


def test_packed_isolation_is_refused_where_positions_run_through(tmp_path: Path) -> None:
    here = Denoise(tmp_path)
    here.model.train()
    here.objective.check(here.model)
    assert here.model.training
    bart = Denoise(tmp_path, "bart", data__packing=True)
    with pytest.raises(ModelError, match="does not keep packed documents apart") as caught:
        bart.objective.check(bart.model)
    assert "data.packing=false" in str(caught.value.hint)
    assert "isolate_documents=false" in str(caught.value.hint)
    kinds: list[dict[str, Any]] = [{}, {"data__packing": True, "data__isolate_documents": False}]
    for changes in kinds:
        fine = Denoise(tmp_path, "bart", **changes)
        fine.objective.check(fine.model)
    with pytest.raises(ModelError, match="no encoder and decoder"):
        here.objective.check(model_of(recipe_of("bert", "mlm"), tokenizer_for("bert")))


def test_rows_with_more_spans_than_sentinels_are_refused(tmp_path: Path) -> None:
    here = Denoise(tmp_path)
    with pytest.raises(ModelError, match="has 100 sentinels") as caught:
        here.objective.rows(here.store, 4096, training=True)
    assert "max_length" in str(caught.value.hint)


def test_bart_says_no_more_than_its_positions(tmp_path: Path) -> None:
    """With most of the text cut out, the target would be longer than what is read."""
    recipe = recipe_of(
        "bart", "denoise", objective__noise="spans", objective__noise_density=0.8, data__packing=False
    )
    tokenizer = tokenizer_for("bart", 382)
    tokenizer.add_special_tokens({"extra_special_tokens": [f"<extra_id_{n}>" for n in range(99)]})
    objective: Any = OBJECTIVES["denoise"](recipe, tokenizer)
    store = store_of(tmp_path, tokenizer, TEXTS, objective="denoise")
    rows = objective.rows(store, 64, training=True)
    batch = rows.batch(0, rows.rows_per_epoch(0))
    assert 48 < (batch.arrays["decoder_groups"] >= 0).sum(-1).max() <= 64
