"""Permutation language modelling: who sees whom, exactly, and what is predicted."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_rows import CPU, LENGTH, TEXTS, gradients, model_of, recipe_of, store_of, tokenizer_for
from transformers import XLNetLMHeadModel

from workbench.data.corruption.permutation import CONTEXT
from workbench.errors import ModelError
from workbench.objectives import OBJECTIVES, Batch, Totals
from workbench.objectives.clm import IGNORE
from workbench.objectives.permutation_rows import CLS_SEGMENT, Ordered
from workbench.objectives.plm import visible


class Setting:
    """The objective, rows of both sides and a model, on ten documents of 3 to 120 words."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.tokenizer = tokenizer_for("xlnet")
        self.recipe = recipe_of("xlnet", "plm", **changes)
        self.objective: Any = OBJECTIVES["plm"](self.recipe, self.tokenizer)
        store = store_of(folder, self.tokenizer, TEXTS, objective="plm")
        self.held_out = store_of(folder, self.tokenizer, TEXTS[::-1], objective="plm", side="eval")
        self.rows: Any = self.objective.rows(store, LENGTH, training=True)
        self.eval_rows: Any = self.objective.rows(self.held_out, LENGTH, training=False)
        self.model: Any = model_of(self.recipe, self.tokenizer)

    def tensors(self, batch: Batch) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = self.objective.tensors(batch, CPU)
        return found

    def logits(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = self.objective.predict(self.model, tensors)
        return found

    def loss(self, batch: Batch) -> torch.Tensor:
        found: torch.Tensor = self.objective.loss(self.model, self.tensors(batch), batch).sums[0]
        return found


def contents(batch: Batch) -> list[bytes]:
    """Rows without what padding to the longest of the batch adds."""
    arrays, found = batch.arrays, []
    for row in range(len(arrays["input_ids"])):
        real, known = arrays["groups"][row] >= 0, arrays["targets"][row] != IGNORE
        names = ("input_ids", "token_type_ids", "groups", "ranks")
        parts = [arrays[name][row][real] for name in names]
        parts += [arrays[name][row][known] for name in ("places", "targets")]
        found.append(b"|".join(part.astype(np.int64).tobytes() for part in parts))
    return found


def test_the_model_is_a_real_xlnet(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    assert isinstance(here.model, XLNetLMHeadModel)
    here.objective.check(here.model)


@pytest.mark.parametrize("isolate", [True, False])
def test_a_prediction_depends_on_context_and_earlier_tokens_alone(tmp_path: Path, isolate: bool) -> None:
    """Exactly: no other token changes a bit of it, and every one of these does change it."""
    here = Setting(tmp_path, data__isolate_documents=isolate)
    batch = here.rows.batch(3, 2)
    tensors = here.tensors(batch)
    order, groups = batch.arrays["ranks"], batch.arrays["groups"]
    before = here.logits(tensors)
    later = earlier = 0
    for place in range(LENGTH):
        changed = tensors["input_ids"].clone()
        changed[:, place] = (changed[:, place] + 7) % 300 + 40
        after = here.logits({**tensors, "input_ids": changed})
        for row in range(2):
            count = int((batch.arrays["targets"][row] != IGNORE).sum())
            for number in range(count):
                target = batch.arrays["places"][row, number]
                same = groups[row, place] == groups[row, target]
                rank, own = order[row, place], order[row, target]
                sees = same and (rank == CONTEXT or rank < own)
                moved = not torch.equal(before[row, number], after[row, number])
                assert moved == sees, (row, place, target)
                later += same and rank > own
                earlier += same and CONTEXT < rank < own
    assert later > 10 and earlier > 10, "both cases were there"


def test_no_target_sees_itself_and_frames_are_seen_but_never_predicted(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    frame = {here.tokenizer.sep_token_id, here.tokenizer.cls_token_id}
    batch = here.rows.batch(0, here.rows.rows_per_epoch(0))
    ranks, groups = batch.arrays["ranks"], batch.arrays["groups"]
    seen = visible(torch.from_numpy(ranks), torch.from_numpy(groups)).numpy()
    special = np.isin(batch.arrays["input_ids"], list(frame)) & (groups >= 0)
    assert special.sum() >= 2 * len(ranks)
    assert (ranks[special] == CONTEXT).all()
    assert not set(batch.arrays["targets"].flat) & set(here.tokenizer.all_special_ids)
    for row in range(len(ranks)):
        targets = ranks[row] != CONTEXT
        assert not seen[row].diagonal()[targets].any()
        same = groups[row][:, None] == groups[row]
        assert (seen[row][:, special[row]] == same[:, special[row]]).all()
        # Nothing that is only read sees what is to be predicted.
        assert not seen[row][~targets][:, targets].any()


def test_the_content_stream_sees_itself(tmp_path: Path) -> None:
    """A target's own content reaches those after it, which it could not if the model forgot the place."""
    here = Setting(tmp_path, data__packing=False)
    batch = here.rows.batch(0, 1)
    model, tensors = here.model.transformer, here.tensors(batch)
    hidden = ~visible(tensors["ranks"], tensors["groups"])
    chosen = int(batch.arrays["places"][0, 0])
    with torch.no_grad():
        states = []
        for token in (50, 60):
            ids = tensors["input_ids"].clone()
            ids[0, chosen] = token
            states.append(model(input_ids=ids, perm_mask=hidden.float()).last_hidden_state[0, chosen])
    assert not torch.equal(*states)


@pytest.mark.parametrize("packing", [True, False])
def test_the_loss_is_that_of_transformers(tmp_path: Path, packing: bool) -> None:
    here = Setting(tmp_path, data__packing=packing)
    batch = here.rows.batch(0, 4)
    arrays = batch.arrays
    order, groups, places = arrays["ranks"], arrays["groups"], arrays["places"]
    # Written out apart from the objective: 1 is what may not be attended to.
    perm_mask = np.ones((*order.shape, order.shape[1]), np.float32)
    for row, i, j in np.ndindex(*perm_mask.shape):
        if groups[row, i] == groups[row, j] and (order[row, j] == -1 or order[row, j] < order[row, i]):
            perm_mask[row, i, j] = 0
    mapping = np.zeros((*places.shape, order.shape[1]), np.float32)
    for row, number in np.ndindex(*places.shape):
        if arrays["targets"][row, number] != IGNORE:
            mapping[row, number, places[row, number]] = 1
    theirs = here.model(
        input_ids=torch.from_numpy(arrays["input_ids"]),
        token_type_ids=torch.from_numpy(arrays["token_type_ids"]),
        perm_mask=torch.from_numpy(perm_mask),
        target_mapping=torch.from_numpy(mapping),
        labels=torch.from_numpy(arrays["targets"]),
    )
    ours = here.loss(batch) / batch.counts[0]
    assert ours.item() == pytest.approx(theirs.loss.item(), rel=1e-5)
    known = arrays["targets"] != IGNORE
    right = (theirs.logits.argmax(-1).numpy() == arrays["targets"])[known].sum()
    output = here.objective.loss(here.model, here.tensors(batch), batch)
    assert output.stats[0] == right


def test_packed_rows_are_the_same_as_their_pieces_apart(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    rows = [here.rows.order(row) for row in here.rows.source.rows(0, 6)]
    apart = []
    for row in rows:
        for piece in np.unique(row.pieces):
            own = row.pieces == piece
            apart.append(Ordered(row.tokens[own], row.pieces[own] * 0, row.segments[own], row.ranks[own]))
    assert len(apart) > len(rows)
    packed, single = here.rows.assemble(rows), here.rows.assemble(apart)
    assert packed.counts == single.counts
    losses = [here.loss(batch) for batch in (packed, single)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    both = [gradients(here.model, loss) for loss in losses]
    for name, gradient in both[0].items():
        assert torch.allclose(gradient, both[1][name], rtol=1e-4, atol=1e-5), name


def test_padding_of_a_batch_changes_no_prediction(tmp_path: Path) -> None:
    here = Setting(tmp_path, data__packing=False)
    count = here.rows.rows_per_epoch(0)
    together = here.loss(here.rows.batch(0, count)).item()
    alone = sum(here.loss(here.rows.batch(row, 1)).item() for row in range(count))
    assert together == pytest.approx(alone, rel=1e-6)


def test_padded_predictions_map_to_no_place(tmp_path: Path) -> None:
    """A row whose first token is a target is predicted alike with and without padding beside it."""
    here = Setting(tmp_path, data__packing=False)
    batches = [here.rows.batch(row, 1) for row in range(4 * here.rows.rows_per_epoch(0))]
    first = [batch for batch in batches if batch.arrays["places"][0, 0] == 0]
    padded = [batch for batch in first if IGNORE in batch.arrays["targets"]]
    assert len(padded) > 3
    for batch in padded:
        tensors = here.tensors(batch)
        known = tensors["targets"][0] != IGNORE
        exact = {**tensors, "places": tensors["places"][:, known]}
        assert torch.allclose(here.logits(tensors)[0, known], here.logits(exact)[0], atol=1e-6)


def test_every_weight_gets_a_gradient(tmp_path: Path) -> None:
    """Or several processes would wait for one that never comes."""
    here = Setting(tmp_path)
    here.loss(here.rows.batch(0, 4)).backward()
    assert [name for name, weight in here.model.named_parameters() if weight.grad is None] == []


def test_draws_belong_to_rows(tmp_path: Path) -> None:
    here, again = Setting(tmp_path), Setting(tmp_path)
    count = here.rows.rows_per_epoch(0)
    rows = contents(here.rows.batch(0, 2 * count))
    assert rows == contents(again.rows.batch(0, 2 * count))
    assert rows[3:6] == [contents(here.rows.batch(row, 1))[0] for row in range(3, 6)]
    first, second = rows[:count], rows[count:]
    assert not set(first) & set(second), "other orders in the next epoch"
    assert contents(here.eval_rows.batch(0, 3)) == contents(again.eval_rows.batch(0, 3))
    other = Setting(tmp_path, training__seed=6)
    assert not set(rows) & set(contents(other.rows.batch(0, count)))
    still = Setting(tmp_path, data__shuffle=False)
    epochs = [still.rows.batch(epoch * count, count).arrays for epoch in (0, 1)]
    assert (epochs[0]["input_ids"] == epochs[1]["input_ids"]).all()
    assert not (epochs[0]["ranks"] == epochs[1]["ranks"]).all(-1).any(), "the same text, another order"


@pytest.mark.parametrize("packing", [True, False])
def test_a_sixth_is_predicted_and_segments_are_those_of_xlnet(tmp_path: Path, packing: bool) -> None:
    here = Setting(tmp_path, data__packing=packing)
    for row in here.rows.source.rows(0, here.rows.rows_per_epoch(0)):
        ordered = here.rows.order(row)
        text = sum(len(piece.tokens) for piece in row.pieces)
        chosen = np.sort(ordered.ranks[ordered.ranks != CONTEXT])
        assert (chosen == np.arange(max(1, round(text / 6)))).all()
        cls = ordered.tokens == here.tokenizer.cls_token_id
        assert (ordered.segments == np.where(cls, CLS_SEGMENT, 0)).all()
        assert cls.sum() == len(row.pieces) and cls[-1]


def test_the_first_loss_is_that_of_guessing(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    batch = here.rows.batch(0, 8)
    vocabulary = here.model.config.vocab_size
    assert here.loss(batch).item() / batch.counts[0] == pytest.approx(math.log(vocabulary), rel=0.03)


def test_a_few_steps_teach_it_something(tmp_path: Path) -> None:
    here = Setting(tmp_path)
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


def test_metrics(tmp_path: Path) -> None:
    objective = Setting(tmp_path).objective
    totals = Totals({"loss": 30.0}, {"loss": 20}, {"correct": 5})
    assert objective.metrics(totals, training=True) == {"mean_token_accuracy": 0.25}
    held_out = objective.metrics(totals, training=False)
    assert held_out == {"mean_token_accuracy": 0.25, "perplexity": pytest.approx(math.exp(1.5))}


@pytest.mark.parametrize("changes", [{}, {"data__packing": False}, {"data__isolate_documents": False}])
def test_the_view_shows_what_the_model_gets(tmp_path: Path, changes: dict[str, Any]) -> None:
    here = Setting(tmp_path, **changes)
    batch = here.rows.batch(0, 4)
    arrays, given = batch.arrays, {}

    def record(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        given.update(kwargs)

    handle = here.model.register_forward_pre_hook(record, with_kwargs=True)
    here.logits(here.tensors(batch))
    handle.remove()
    states = set()
    for row, view in enumerate(here.objective.view(batch)):
        (stream,) = view.streams
        allowed = given["perm_mask"][row].numpy() == 0
        for place, token in enumerate(stream.tokens):
            states.add(token.state)
            rank = arrays["ranks"][row, place]
            assert token.id == arrays["input_ids"][row, place]
            assert (token.state == "supervised") == (rank != CONTEXT) == (token.target is not None)
            expected = allowed[place].copy()
            if token.state == "supervised":
                assert token.target == token.id and token.note.startswith(f"number {rank + 1} of")
                (number,) = np.flatnonzero(given["target_mapping"][row, :, place].numpy())
                assert arrays["targets"][row, number] == token.target
            else:
                expected[place] = True
            assert (stream.attends[place] == expected).all()
            if token.state == "padding":
                assert token.document == -1 and token.id == here.tokenizer.pad_token_id
    assert {"context", "supervised", "special"} <= states <= {"context", "supervised", "special", "padding"}


def test_a_sample_fills_what_it_hid_in_order(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    prompts = here.objective.default_prompts(here.held_out)
    assert len(prompts) == 3 and all(any(text.startswith(p) for text in TEXTS) for p in prompts)
    with torch.no_grad():
        found, again = (here.objective.sample(here.model, prompts[0]) for _ in range(2))
    assert found == again
    filled = re.findall(r"«(.*?)» (\d\.\d\d) \((.*?)\)", found["text"], re.DOTALL)
    ids = here.tokenizer(prompts[0], add_special_tokens=False)["input_ids"]
    assert len(filled) == found["prompt"].count("___") == max(1, round(len(ids) / 6))
    truth = iter(word for _, _, word in filled)
    assert re.sub("___", lambda match: next(truth), found["prompt"]) == prompts[0]


def test_a_sample_fills_the_masks_of_a_prompt(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    with torch.no_grad():
        found = here.objective.sample(here.model, "the king and<mask> of")
    assert found["prompt"] == "the king and<mask> of"
    assert re.fullmatch(r"the king and ?«.*» \d\.\d\d of", found["text"], re.DOTALL)
    assert here.objective.sample(here.model, "") == {"text": ""}


def test_other_models_and_tokenizers_are_refused(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    bert = model_of(recipe_of("bert", "mlm"), tokenizer_for("bert"))
    with pytest.raises(ModelError, match="no query stream") as caught:
        here.objective.check(bert)
    assert "model.family=xlnet" in str(caught.value.hint)
    with pytest.raises(ModelError, match="no sep_token|no cls_token"):
        OBJECTIVES["plm"](here.recipe, tokenizer_for("t5"))
