"""The weights of a Llama-shaped decoder as the fused decode step wants them, taken out of its model.

Query, key and value matrices lie in one, and so do gate and up: three products instead of seven a layer.
"""

from __future__ import annotations

from typing import Any

import torch

from workbench.ops.decode import DecoderLayer, DecoderWeights
from workbench.ops.huge_pages import HugePages, aligned_bytes

KINDS = {"llama", "mistral", "qwen2", "qwen3"}
"""Model types that are RMS norms, rotary positions, grouped-query attention and a gated SiLU, no more."""
SPARSE = {"ministral", "workbench_llama"}
"""Model types that are the same, but for what their tokens see."""
STATIC_ROPE = {"default", "linear", "llama3", "yarn"}
"""Ways of rotary scaling whose angles do not depend on how long the sequence has become."""


def why_not(config: Any) -> str | None:
    """Why a model of this configuration cannot run on fused weights, each token seeing all before it; None
    when it can."""
    if config.model_type not in KINDS:
        return f"a model of type {config.model_type} has parts of its own"
    if set(getattr(config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
        return "it has layers with a sliding window"
    if config.model_type == "mistral" and getattr(config, "sliding_window", None):
        return "it has a sliding window"
    return why_not_parts(config)


def why_not_parts(config: Any) -> str | None:
    """Why `fuse` does not take the weights of a model of this configuration, whatever its tokens see."""
    if config.model_type not in KINDS | SPARSE:
        return f"a model of type {config.model_type} has parts of its own"
    if getattr(config, "hidden_act", "silu") != "silu":
        return f"its activation is {config.hidden_act}, not SiLU"
    if getattr(config, "mlp_bias", False):
        return "its MLP has biases"
    kind = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if kind not in STATIC_ROPE:
        return f"its rotary scaling is {kind}"
    return None


def fuse(model: Any, length: int) -> DecoderWeights:
    """Copies of the weights of a model for which `why_not` is None; rotary angles for `length` positions.

    The model's own are given up on the way, layer by layer: it cannot be used afterwards.
    """
    config, body = model.config, model.model
    pages = HugePages(sum(map(aligned_bytes, model.parameters())))
    layers = []
    for place in range(len(body.layers)):
        layers.append(_fuse_layer(body.layers[place], pages))
        body.layers[place] = torch.nn.Identity()
    table = body.embed_tokens.weight
    is_tied = model.lm_head.weight.data_ptr() == table.data_ptr()
    positions = torch.arange(length)[None]
    cos, sin = body.rotary_emb(torch.zeros(1), positions)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    embedding = pages.copy(table)
    head = embedding if is_tied else pages.copy(model.lm_head.weight)
    body.embed_tokens = model.lm_head = torch.nn.Identity()
    return DecoderWeights(
        embedding=embedding,
        layers=layers,
        norm=pages.copy(body.norm.weight),
        head=head,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        eps=config.rms_norm_eps,
        cos=cos[0].float().contiguous(),
        sin=sin[0].float().contiguous(),
        scaling=head_dim**-0.5,
        dtype=embedding.dtype,
    )


def _fuse_layer(layer: Any, pages: HugePages) -> DecoderLayer:
    attention, mlp = layer.self_attn, layer.mlp
    three = (attention.q_proj, attention.k_proj, attention.v_proj)

    def norm(name: str) -> torch.Tensor | None:
        return pages.copy(getattr(attention, name).weight) if hasattr(attention, name) else None

    return DecoderLayer(
        input_norm=pages.copy(layer.input_layernorm.weight),
        qkv=pages.copy(*(part.weight for part in three)),
        qkv_bias=None if three[0].bias is None else pages.copy(*(part.bias for part in three)),
        q_norm=norm("q_norm"),
        k_norm=norm("k_norm"),
        output=pages.copy(attention.o_proj.weight),
        output_bias=None if attention.o_proj.bias is None else pages.copy(attention.o_proj.bias),
        post_norm=pages.copy(layer.post_attention_layernorm.weight),
        gate_up=pages.copy(mlp.gate_proj.weight, mlp.up_proj.weight),
        down=pages.copy(mlp.down_proj.weight),
    )
