"""The fused decoder over a model that is being trained: its weights as they are now, adapters and all.

A decode step reads matrices where they lie, so of a model in the decoder's own precision only what is fused
(queries with keys and values, gate with up) is copied, and what an adapter changes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workbench.models.fused_weights import why_not
from workbench.ops.decode import DecoderLayer, DecoderWeights


def why_not_live(model: Any) -> str | None:
    """Why a model cannot be decoded so; None when it can. It must be a bare or PEFT-wrapped causal model."""
    bare = _bare(model)
    head = bare.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        return "its output layer has a bias"
    return why_not(bare.config)


class LiveDecoder:
    """Gives `DecoderWeights` of a model in training; `length` positions at most, in `dtype`."""

    def __init__(self, model: Any, length: int, dtype: torch.dtype) -> None:
        self.model, self.length, self.dtype = model, length, dtype
        self._kept: dict[str, Tensor] = {}
        self._angles: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def weights(self) -> DecoderWeights:
        """The weights as they are now; what was returned before is void. Costs a copy of what is fused."""
        bare = _bare(self.model)
        config, body = bare.config, bare.model
        if self._angles is None:
            device = body.embed_tokens.weight.device
            positions = torch.arange(self.length, device=device)[None]
            cos, sin = body.rotary_emb(torch.zeros(1, device=device), positions)
            self._angles = cos[0].float().contiguous(), sin[0].float().contiguous()
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        embedding = self._one("embedding", body.embed_tokens.weight)
        head = bare.get_output_embeddings().weight
        tied = head.data_ptr() == body.embed_tokens.weight.data_ptr()
        return DecoderWeights(
            embedding=embedding,
            layers=[self._layer(number, layer) for number, layer in enumerate(body.layers)],
            norm=self._one("norm", body.norm.weight),
            head=embedding if tied else self._one("head", head),
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=head_dim,
            eps=config.rms_norm_eps,
            cos=self._angles[0],
            sin=self._angles[1],
            scaling=head_dim**-0.5,
            dtype=self.dtype,
        )

    def _layer(self, number: int, layer: Any) -> DecoderLayer:
        attention, mlp, name = layer.self_attn, layer.mlp, f"{number}."
        three = (attention.q_proj, attention.k_proj, attention.v_proj)
        biases = [_bias(part) for part in three]

        def norm(part: str) -> Tensor | None:
            return (
                self._one(name + part, getattr(attention, part).weight) if hasattr(attention, part) else None
            )

        out_bias = _bias(attention.o_proj)
        return DecoderLayer(
            input_norm=self._one(name + "input_norm", layer.input_layernorm.weight),
            qkv=self._joined(name + "qkv", *map(_weight, three)),
            qkv_bias=None if biases[0] is None else self._joined(name + "qkv_bias", *biases),
            q_norm=norm("q_norm"),
            k_norm=norm("k_norm"),
            output=self._one(name + "output", _weight(attention.o_proj)),
            output_bias=None if out_bias is None else self._one(name + "output_bias", out_bias),
            post_norm=self._one(name + "post_norm", layer.post_attention_layernorm.weight),
            gate_up=self._joined(name + "gate_up", _weight(mlp.gate_proj), _weight(mlp.up_proj)),
            down=self._one(name + "down", _weight(mlp.down_proj)),
        )

    def _one(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor itself where it is as the decoder wants it, else a copy in memory that is kept."""
        tensor = tensor.detach()
        if tensor.dtype == self.dtype and tensor.is_contiguous():
            return tensor
        return self._joined(name, tensor)

    def _joined(self, name: str, *parts: Tensor | None) -> Tensor:
        found = [part.detach() for part in parts if part is not None]
        kept = self._kept.get(name)
        if kept is None:
            rows = sum(part.shape[0] for part in found)
            kept = torch.empty((rows, *found[0].shape[1:]), dtype=self.dtype, device=found[0].device)
            self._kept[name] = kept
        start = 0
        for part in found:
            kept[start : start + part.shape[0]].copy_(part)
            start += part.shape[0]
        return kept


def _bare(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _weight(layer: Any) -> Tensor:
    """A linear layer's matrix, with what low-rank adapters add to it."""
    if not hasattr(layer, "get_delta_weight"):
        weight: Tensor = layer.weight
        return weight
    whole: Tensor = layer.get_base_layer().weight
    if not layer.disable_adapters:
        for name in layer.active_adapters:
            if name in layer.lora_A:
                whole = whole + layer.get_delta_weight(name)
    return whole


def _bias(layer: Any) -> Tensor | None:
    base = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
    found: Tensor | None = base.bias
    return found
