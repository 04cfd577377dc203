"""Prefix tuning by the operator against PEFT's own eager way, family by family."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from prefix_models import FAMILIES, PREFIX, assert_same_step, decoder, prefix_tuned, rows

from workbench.models.shared_prefix.peft import learned_prefix, undo_shared_prefix, use_shared_prefix

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_gradients_and_greedy_text_are_those_of_peft(family: str) -> None:
    model = prefix_tuned(decoder(family))
    assert_same_step(model, rows())
    prompt = rows(right=False)
    del prompt["labels"]
    options = {**prompt, "max_new_tokens": 8, "do_sample": False, "pad_token_id": 2}
    wanted = model.generate(**options)
    found = use_shared_prefix(model).generate(**options)
    assert torch.equal(found, wanted)
    assert len(set(wanted[:, 13:].flatten().tolist())) > 3
    base = model.get_base_model().config
    heads = getattr(base, "num_key_value_heads", None) or base.num_attention_heads
    size = getattr(base, "head_dim", None) or base.hidden_size // base.num_attention_heads
    assert learned_prefix(model).layers[1][0].shape == (heads, PREFIX, size)


@pytest.mark.parametrize("family", ["Llama", "GPT2"])
def test_a_reparameterised_prefix_learns_through_its_network(family: str) -> None:
    model = prefix_tuned(decoder(family), prefix_projection=True)
    assert_same_step(model, rows())


def test_beams_and_samples_are_those_of_peft() -> None:
    model = prefix_tuned(decoder())
    prompt = rows(right=False)
    options = {"max_new_tokens": 6, "pad_token_id": 2, "attention_mask": prompt["attention_mask"]}
    settings: list[dict[str, Any]] = [
        {"num_beams": 3, "num_return_sequences": 2},
        {"do_sample": True, "num_return_sequences": 3, "temperature": 2.0},
    ]
    for setting in settings:
        answers = []
        for change in (undo_shared_prefix, use_shared_prefix):
            torch.manual_seed(3)
            answers.append(change(model).generate(prompt["input_ids"], **options, **setting))
        assert torch.equal(*answers)
