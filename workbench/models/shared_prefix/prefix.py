"""Keys and values of a prefix, layer by layer, as every row of a batch shares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from workbench.errors import ModelError

Layer = tuple[Tensor, Tensor]
"""Keys and values [KV, P, d] of one layer."""


@dataclass(frozen=True)
class SharedPrefix:
    """A prefix of P positions for a decoder of L layers: keys and values [KV, P, d] each, without a batch.

    Keys are as they enter attention, after any rotation. Gradients flow into them where they need some.
    """

    layers: tuple[Layer, ...]

    @property
    def length(self) -> int:
        """P, how many positions all rows share."""
        return int(self.layers[0][0].shape[1]) if self.layers else 0


@dataclass(frozen=True)
class PassedPrefix:
    """What travels through a model's forward to each attention; `weights` asks for the weights as well."""

    prefix: SharedPrefix
    weights: bool = False

    def layer(self, index: int | None, key: Tensor, value: Tensor) -> Layer:
        """Keys and values of layer `index`. Raises `ModelError` when there are none, or when they do not
        stand before own `key` and `value` [B, KV, T, d]."""
        layers = self.prefix.layers
        if index is None or index >= len(layers):
            raise ModelError(
                f"the prefix has keys and values for {len(layers)} layers, and none for this one",
                where=f"layer {index}",
                hint="use a prefix made for this model",
            )
        before = layers[index]
        for name, shared, own in (("keys", before[0], key), ("values", before[1], value)):
            if shared.ndim != 3 or shared.shape[0] != own.shape[1] or shared.shape[2] != own.shape[3]:
                raise ModelError(
                    f"the prefix's {name} {list(shared.shape)} do not stand before the layer's own "
                    f"{list(own.shape)}: [{own.shape[1]}, P, {own.shape[3]}] would",
                    where=f"layer {index}",
                    hint="use a prefix made for this model",
                )
        return before


def check_fits(prefix_shape: tuple[int, int, int, int], config: Any, where: str = "") -> None:
    """Raise `ModelError` unless a prefix of L layers, KV heads, P positions and head size d
    (`prefix_shape`) is one for a model of `config`, and leaves its context some room."""
    from workbench.models.context import context_of_config

    layers, heads, length, size = prefix_shape
    text = config.get_text_config()
    queries = int(text.num_attention_heads)
    wanted = (
        int(text.num_hidden_layers),
        int(getattr(text, "num_key_value_heads", None) or queries),
        int(getattr(text, "head_dim", None) or text.hidden_size // queries),
    )
    if (layers, heads, size) != wanted:
        raise ModelError(
            f"the prefix is of {layers} layers × {heads} key/value heads × {size}, "
            f"the model of {wanted[0]} × {wanted[1]} × {wanted[2]}",
            where=where,
            hint="use a prefix made for this model",
        )
    check_context(length, 1, context_of_config(text), where)


def check_context(prefix: int, own: int, context: int | None, where: str = "") -> None:
    """Raise `ModelError` when `prefix` and `own` positions are more than the model's `context`."""
    if context is not None and prefix + own > context:
        raise ModelError(
            f"{prefix} positions of the prefix and {own} own ones are {prefix + own}, "
            f"and the model's context holds {context}",
            where=where,
            hint=f"use at most {max(0, context - own)} virtual tokens, or shorter texts",
        )
