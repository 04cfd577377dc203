"""Llama-shaped models of two layers of 128, wide enough to be fused, and steps through them."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor

VOCABULARY, LENGTH = 500, 33
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 208,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}


def model_of(name: str = "Llama", **values: Any) -> Any:
    """The same weights for the same name, the norms' among them not 1."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**(SIZES | values))
    model = getattr(transformers, f"{name}ForCausalLM")(config).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4) if parameter.ndim > 1 else parameter.add_(torch.rand_like(parameter) - 0.5)
    return model


def packed_positions() -> Tensor:
    """Positions [2, 33] of documents of 20, 9, 1, 1, 1 and 1 tokens, and of one of 33."""
    packed = torch.cat([torch.arange(20), torch.arange(9), torch.zeros(4, dtype=torch.int64)])
    return torch.stack([packed, torch.arange(LENGTH)])


def step(model: Any, positions: Tensor | None = None, *, half: bool = False, **given: Any) -> list[Tensor]:
    """Logits [2, 33, V], and the gradients of all weights of their products with random numbers."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, VOCABULARY, (2, LENGTH), generator=generator)
    draws = torch.randn(2, LENGTH, VOCABULARY, generator=generator)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = model(input_ids=ids, position_ids=positions, use_cache=False, **given).logits
    (logits.to(draws.dtype) * draws).sum().backward()
    found = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return [logits.detach(), *found]


def error(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    """Of each tensor the norm of what is wrong, relative to its own."""
    return [
        float((mine.double() - right.double()).norm() / right.double().norm())
        for mine, right in zip(found, exact, strict=True)
    ]
