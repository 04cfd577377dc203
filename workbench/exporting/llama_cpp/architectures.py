"""The decoders that llama.cpp runs as we write them: its names for their weights, and what it cannot do.

Names, orders and keys are those of the GGUF specification and of llama.cpp's own models.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch

from workbench.errors import ModelError

OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
BUFFERS = ("rotary_emb.inv_freq",)
"""What old files hold beside weights, and can be reckoned."""


@dataclass(frozen=True)
class Architecture:
    """A kind of model in llama.cpp. With `interleaved`, its rotary embedding turns neighbouring numbers
    of a head where transformers turns those of its two halves, so rows of queries and keys change places.
    `biases` and `norms` are the parts of a layer that may have them."""

    name: str
    interleaved: bool
    biases: frozenset[str] = frozenset()
    norms: frozenset[str] = frozenset()
    scaled_rope: bool = False
    """Whether it takes a factor for every frequency (`rope_freqs`), as Llama 3 needs."""


ATTENTION = frozenset({"attn_q", "attn_k", "attn_v"})
LLAMA = Architecture(
    "llama",
    interleaved=True,
    biases=ATTENTION | {"attn_output", "ffn_gate", "ffn_up", "ffn_down"},
    scaled_rope=True,
)
KNOWN = {
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": LLAMA,
    "Qwen2ForCausalLM": Architecture("qwen2", interleaved=False, biases=ATTENTION),
    "Qwen3ForCausalLM": Architecture(
        "qwen3", interleaved=False, norms=frozenset({"attn_q_norm", "attn_k_norm"})
    ),
}


def architecture_of(name: str, config: Any, where: str) -> Architecture:
    """The kind of a class of transformers. Raises `ModelError` for others, and for what llama.cpp would
    reckon otherwise."""
    found = KNOWN.get(name)
    if found is None:
        raise ModelError(
            f"{name or 'a model of this kind'} is not written as GGUF",
            where=where,
            hint=f"what can be: {', '.join(KNOWN)}; --format safetensors takes every model",
        )
    wrong = [
        (config.hidden_act != "silu", f"its activation {config.hidden_act}, where llama.cpp has silu"),
        (_partial(config) != 1.0, "rotary embeddings of a part of each head"),
        (
            found is not LLAMA and "sliding_attention" in (getattr(config, "layer_types", None) or ()),
            "layers that see a window alone",
        ),
        (bool(getattr(config, "quantization_config", None)), "weights that are quantized already"),
    ]
    for is_so, what in wrong:
        if is_so:
            raise ModelError(
                f"this {name} has {what}: it is not written as GGUF", where=where, hint="--format safetensors"
            )
    return found


def _partial(config: Any) -> float:
    rope = getattr(config, "rope_parameters", None) or {}
    return float(
        rope.get("partial_rotary_factor", None) or getattr(config, "partial_rotary_factor", None) or 1.0
    )


def heads_of(config: Any) -> tuple[int, int, int]:
    """Heads of queries, heads of keys and values, and numbers in one."""
    heads = int(config.num_attention_heads)
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return heads, int(getattr(config, "num_key_value_heads", None) or heads), int(size)


def gguf_name(name: str, architecture: Architecture, *, tied: bool, where: str) -> str | None:
    """llama.cpp's name for a weight; None for one that it does not want. Raises `ModelError` for one that it
    has no place for, for without it the model would be another."""
    if name == "lm_head.weight" and tied:
        return None
    if name in OUTER:
        return OUTER[name]
    if name.endswith(BUFFERS):
        return None
    match = LAYER.fullmatch(name)
    part = INNER.get(match[2]) if match else None
    if match and part and _has_place(part, match[3], architecture):
        return f"blk.{match[1]}.{part}.{match[3]}"
    raise ModelError(
        f"llama.cpp's {architecture.name} has no place for the weight {name}",
        where=where,
        hint="--format safetensors takes every model",
    )


def _has_place(part: str, kind: str, architecture: Architecture) -> bool:
    if kind == "bias":
        return part in architecture.biases
    return part not in ("attn_q_norm", "attn_k_norm") or part in architecture.norms


def arranged(name: str, tensor: torch.Tensor, architecture: Architecture, config: Any) -> torch.Tensor:
    """A weight [rows, …] in llama.cpp's order: of each head's rows, those of the first half and of the second
    by turns, since row i of a head is turned with row i + 1 there, and with row i + size / 2 here."""
    heads, groups, _ = heads_of(config)
    count = {"attn_q": heads, "attn_k": groups}.get(name.split(".")[-2])
    if not architecture.interleaved or count is None:
        return tensor
    halves = tensor.reshape(count, 2, tensor.shape[0] // count // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape).contiguous()
