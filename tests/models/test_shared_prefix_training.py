"""Prefix tuning by the operator as training meets it: recomputation, types, compilation, copies."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from prefix_models import (
    assert_same_gradients,
    assert_same_step,
    decoder,
    prefix_tuned,
    rows,
    step,
)

from workbench.errors import ModelError
from workbench.models.shared_prefix.peft import learned_prefix, undo_shared_prefix, use_shared_prefix

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture
def model() -> Any:
    return prefix_tuned(decoder())


@pytest.mark.parametrize("projection", [False, True])
def test_recomputed_layers_give_the_same_gradients(projection: bool) -> None:
    model: Any = use_shared_prefix(prefix_tuned(decoder(), prefix_projection=projection)).train()
    logits, wanted = step(model, rows())
    model.get_base_model().activation_checkpointing_enable({"use_reentrant": False})
    again, found = step(model, rows())
    torch.testing.assert_close(again, logits, rtol=0, atol=0)
    assert_same_gradients(found, wanted)


def test_reentrant_recomputation_is_refused(model: Any) -> None:
    use_shared_prefix(model).train()
    model.get_base_model().activation_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(ModelError, match="reentrant") as refusal:
        model(**rows())
    assert "use_reentrant=False" in refusal.value.hint


def test_gradients_accumulate(model: Any) -> None:
    batch = rows()
    _, (whole,) = step(use_shared_prefix(model), batch)
    model.zero_grad()
    count = (batch["labels"][:, 1:] != -100).sum()
    for half in (slice(0, 2), slice(2, 4)):
        model(**{name: x[half] for name, x in batch.items()}, num_items_in_batch=count).loss.backward()
    found = model.prompt_encoder["default"].embedding.weight.grad
    assert_same_gradients([found], [whole])


def test_two_hundred_steps_have_peft_s_losses() -> None:
    """AdamW, the same batches: each loss within 1e-4 of PEFT's."""
    curves = []
    for change in (undo_shared_prefix, use_shared_prefix):
        model: Any = change(prefix_tuned(decoder(num_hidden_layers=1, hidden_size=32, intermediate_size=32)))
        optimizer = torch.optim.AdamW(model.prompt_encoder.parameters(), lr=1e-2)
        losses = []
        for at in range(200):
            batch = {name: x.roll(at % 4, 0)[:2] for name, x in rows(length=9).items()}
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        curves.append(torch.tensor(losses))
    torch.testing.assert_close(curves[1], curves[0], rtol=0, atol=1e-4)
    assert curves[0][-4:].mean() < 0.9 * curves[0][:4].mean()


def test_a_model_in_bf16_has_its_prefix_in_fp32() -> None:
    model: Any = use_shared_prefix(prefix_tuned(decoder().to(torch.bfloat16)))
    weight = model.prompt_encoder["default"].embedding.weight
    assert weight.dtype == torch.float32
    assert learned_prefix(model).layers[0][0].dtype == torch.bfloat16
    logits, (gradient,) = step(model, rows())
    assert logits.dtype == torch.bfloat16 and gradient.dtype == torch.float32
    # Both of the same rounded weights, whose arithmetic alone differs.
    exact, (exact_gradient,) = step(undo_shared_prefix(copy.deepcopy(model)).float(), rows())
    theirs, (their_gradient,) = step(undo_shared_prefix(model), rows())
    assert (logits - exact).norm() <= 2 * (theirs - exact).norm()
    assert (gradient - exact_gradient).norm() <= 2 * (their_gradient - exact_gradient).norm()


def test_autocast_computes_attention_in_its_type(model: Any) -> None:
    exact, (wanted,) = step(model, rows())
    answers = []
    for change in (undo_shared_prefix, use_shared_prefix):
        with torch.autocast("cpu", torch.bfloat16):
            answers.append(step(change(model), rows()))
    (theirs, (their_gradient,)), (mine, (my_gradient,)) = answers
    assert (mine - exact).norm() <= 2 * (theirs - exact).norm()
    assert (my_gradient - wanted).norm() <= 2 * (their_gradient - wanted).norm()


def test_a_compiled_model_gives_the_same_step() -> None:
    """In one graph of dynamic shapes; a gap in the padding, which a graph cannot see, is an error."""
    model, batch = prefix_tuned(decoder(num_hidden_layers=1)), rows()
    logits, gradients = step(use_shared_prefix(model), batch)
    torch.compiler.reset()
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=True)
    model.zero_grad()
    output = compiled(**batch)
    output.loss.backward()
    torch.testing.assert_close(output.logits, logits, rtol=0, atol=1e-5)
    assert_same_gradients([model.prompt_encoder["default"].embedding.weight.grad], gradients)
    batch["attention_mask"][2, 5:7] = 0
    with pytest.raises(RuntimeError, match="padding at the left and right only"):
        compiled(**batch)


def test_undone_and_without_adapter_it_is_as_before(model: Any) -> None:
    batch = rows()
    before = model.get_base_model().config._attn_implementation
    with model.disable_adapter(), torch.no_grad():
        plain = model(**batch).logits
    use_shared_prefix(model)
    with model.disable_adapter(), torch.no_grad():
        assert torch.equal(model(**batch).logits, plain)
    with pytest.raises(ModelError, match="without one"):
        model.get_base_model()(**batch)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.prompt_encoder["default"].embedding.weight.zero_()
    assert learned_prefix(model).layers[0][0].abs().sum() > 0
    assert twin.get_prompt(1).prefix.layers[0][0].abs().sum() == 0
    undo_shared_prefix(twin)
    assert_same_step(undo_shared_prefix(model), batch)
    assert model.get_base_model().config._attn_implementation == before
    assert "get_prompt" not in vars(model)


def test_saved_files_are_peft_s_own(model: Any, tmp_path: Path) -> None:
    use_shared_prefix(model).save_pretrained(str(tmp_path))
    plain: Any = PeftModel.from_pretrained(decoder(), str(tmp_path))
    with torch.no_grad():
        wanted = plain(**rows()).logits
        found = use_shared_prefix(plain)(**rows()).logits
        trained = model(**rows()).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(found, trained, rtol=0, atol=0)
