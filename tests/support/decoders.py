"""Decoders for the decode step: the weights of a transformers model, and rows cut into segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from workbench.ops.decode import DecoderLayer, DecoderWeights, Row, Segment

MODELS = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


def tiny_decoder(
    family: str = "llama", *, dtype: torch.dtype = torch.float32, seed: int = 0, **options: Any
) -> Any:
    """A random model of odd sizes. Norms and biases are random too, or nothing would test them."""
    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "vocab_size": 1003,
        "hidden_size": 99,
        "intermediate_size": 150,
        "num_hidden_layers": 2,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "max_position_embeddings": 512,
        "initializer_range": 0.1,
        "tie_word_embeddings": True,
    }
    config_class, model_class = MODELS[family]
    config = config_class(**{**settings, **options})
    model = model_class(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
        elif "norm" in name:
            torch.nn.init.normal_(parameter, mean=1, std=0.2)
    return model.to(dtype)


def weights_of(model: Any) -> DecoderWeights:
    """The decode step's view of a Llama, Qwen2 or Qwen3 model."""
    config, body = model.config, model.model

    def together(*linears: Any) -> Tensor:
        return torch.cat([linear.weight for linear in linears]).detach()

    def biases(*linears: Any) -> Tensor | None:
        if linears[0].bias is None:
            return None
        return torch.cat([linear.bias for linear in linears]).detach()

    def norm(attention: Any, name: str) -> Tensor | None:
        return getattr(attention, name).weight.detach() if hasattr(attention, name) else None

    layers = []
    for layer in body.layers:
        attention, mlp = layer.self_attn, layer.mlp
        projections = attention.q_proj, attention.k_proj, attention.v_proj
        layers.append(
            DecoderLayer(
                input_norm=layer.input_layernorm.weight.detach(),
                qkv=together(*projections),
                qkv_bias=biases(*projections),
                q_norm=norm(attention, "q_norm"),
                k_norm=norm(attention, "k_norm"),
                output=attention.o_proj.weight.detach(),
                output_bias=biases(attention.o_proj),
                post_norm=layer.post_attention_layernorm.weight.detach(),
                gate_up=together(mlp.gate_proj, mlp.up_proj),
                down=mlp.down_proj.weight.detach(),
            )
        )
    positions = torch.arange(config.max_position_embeddings)[None]
    cos, sin = body.rotary_emb(torch.zeros(1), positions)
    attention = body.layers[0].self_attn
    return DecoderWeights(
        embedding=body.embed_tokens.weight.detach(),
        layers=layers,
        norm=body.norm.weight.detach(),
        head=model.lm_head.weight.detach(),
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=attention.head_dim,
        eps=config.rms_norm_eps,
        cos=cos[0].float(),
        sin=sin[0].float(),
        scaling=attention.scaling,
        dtype=body.norm.weight.dtype,
    )


def segment(
    weights: DecoderWeights, room: int, keys: Tensor | None = None, values: Tensor | None = None
) -> Segment:
    """A segment with room for so many positions; holds `keys` and `values` [L, KV, n, hd] if given."""
    shape = (len(weights.layers), weights.kv_heads, room, weights.head_dim)
    made = Segment(torch.zeros(shape, dtype=weights.dtype), torch.zeros(shape, dtype=weights.dtype), 0)
    if keys is not None and values is not None:
        made.length = keys.shape[2]
        made.keys[:, :, : made.length] = keys
        made.values[:, :, : made.length] = values
    return made


def cut(weights: DecoderWeights, keys: Tensor, values: Tensor, lengths: Sequence[int], room: int = 8) -> Row:
    """A row of `keys` and `values` [L, KV, n, hd] in segments of these lengths; what is left is the last one,
    with room for more."""
    row, start = Row([]), 0
    for length in lengths:
        part = slice(start, start + length)
        row.segments.append(segment(weights, length, keys[:, :, part], values[:, :, part]))
        start += length
    left = keys.shape[2] - start
    row.segments.append(segment(weights, left + room, keys[:, :, start:], values[:, :, start:]))
    return row


def random_cache(weights: DecoderWeights, length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Keys and values [L, KV, n, hd] of nothing in particular."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, len(weights.layers), weights.kv_heads, length, weights.head_dim)
    keys, values = torch.randn(shape, generator=generator).to(weights.dtype)
    return keys, values


def advance(rows: Sequence[Row]) -> None:
    for row in rows:
        row.segments[-1].length += 1
