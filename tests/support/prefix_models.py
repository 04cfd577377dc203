"""Tiny decoders of many families with PEFT's prefix tuning, and rows padded at either end."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from peft import PeftModel, PrefixTuningConfig, get_peft_model
from torch import Tensor

from workbench.models.shared_prefix.peft import undo_shared_prefix, use_shared_prefix

VOCABULARY = 97
PREFIX = 7
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {"num_key_value_heads": 2},
    "Qwen2": {"num_key_value_heads": 2},
    "Qwen3": {"num_key_value_heads": 2, "head_dim": 32},
    "Mistral": {"num_key_value_heads": 2, "sliding_window": 9},
    "Gemma": {"num_key_value_heads": 1, "head_dim": 32},
    "Gemma2": {"num_key_value_heads": 2, "head_dim": 32, "sliding_window": 9},
    "Gemma3": {"num_key_value_heads": 2, "head_dim": 32, "sliding_window": 9},
    "Phi": {"partial_rotary_factor": 0.5},
    "Phi3": {"num_key_value_heads": 2},
    "GPT2": {},
    "GptOss": {
        "num_key_value_heads": 2,
        "head_dim": 16,
        "sliding_window": 9,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
}


def decoder(family: str = "Llama", **values: Any) -> Any:
    """Two layers of 64, whose attention is not alike everywhere, by transformers' eager attention."""
    common = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "attn_implementation": "eager",
    }
    if family == "GPT2":
        common |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        del common["intermediate_size"]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}TextConfig" if family == "Gemma3" else f"{family}Config")
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    model = getattr(transformers, family + head)(config(**(common | FAMILIES[family] | values))).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.mul_(3)
    return model


def prefix_tuned(model: Any, **values: Any) -> Any:
    """The model with a prefix that is not small, so that it shows."""
    settings: dict[str, Any] = {"task_type": "CAUSAL_LM", "num_virtual_tokens": PREFIX}
    settings |= {"encoder_hidden_size": 32} | values
    wrapped: Any = get_peft_model(model, PrefixTuningConfig(**settings))
    with torch.no_grad():
        wrapped.prompt_encoder["default"].embedding.weight.normal_(generator=torch.Generator().manual_seed(1))
    return wrapped


def rows(*, length: int = 13, left: bool = True, right: bool = True) -> dict[str, Tensor]:
    """Four rows [4, length] with uneven padding, and labels of what is none."""
    ids = torch.randint(3, VOCABULARY, (4, length), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    if right:
        mask[0, -4:] = 0
    if left:
        mask[1, :3] = 0
        mask[3, :6] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def step(model: PeftModel, batch: dict[str, Tensor], **options: Any) -> tuple[Tensor, list[Tensor]]:
    """Logits and gradients of one step."""
    model.zero_grad()
    output = model(**batch, **options)
    output.loss.backward()
    return output.logits.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def assert_same_step(model: PeftModel, batch: dict[str, Tensor], **options: Any) -> None:
    """That logits are PEFT's to 1e-5 and gradients to 1e-5 of their norm; the model is as before."""
    logits, gradients = step(model, batch, **options)
    try:
        mine, my_gradients = step(use_shared_prefix(model), batch, **options)
    finally:
        undo_shared_prefix(model)
    torch.testing.assert_close(mine, logits, rtol=0, atol=1e-5)
    assert_same_gradients(my_gradients, gradients)


def assert_same_gradients(found: list[Tensor], wanted: list[Tensor]) -> None:
    """That there are as many, and each differs by at most 1e-5 of its norm."""
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert other.norm() > 0
        assert (one - other).norm() <= 1e-5 * other.norm()
