"""Kinds of attention that a new decoder can have: what each sees, keeps and is called. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from workbench.recipe.model_section import ModelSection

AttentionName = Literal["full", "sliding_window", "window_global", "strided", "linear"]
InitName = Literal["normal", "depth_scaled"]

ATTENTION: dict[AttentionName, str] = {
    "full": "each token sees itself and all before it",
    "sliding_window": "each token sees the last few",
    "window_global": "the last few, and tokens or layers that see everything",
    "strided": "the last few, and every so manieth before them",
    "linear": "a kernel in place of the softmax: a sum of constant size",
}
"""What each is, in a few words."""

NATIVE = ("full", "sliding_window")
"""Kinds that transformers has itself; the other ones need the workbench to be loaded, but for layers by
turns (window_global without global tokens)."""


@dataclass(frozen=True)
class AttentionShape:
    """One decoder's attention as numbers.

    A query sees the `window` last tokens, itself among them (None: all), the `global_tokens` first, and with
    a `stride` every so manieth; one layer in `global_every` sees everything (0: none does).
    """

    kind: AttentionName = "full"
    window: int | None = None
    global_tokens: int = 0
    global_every: int = 0
    stride: int | None = None
    whole_layers: int | None = None
    """Layers that see everything, of a model whose layers take no regular turns."""

    @property
    def is_linear(self) -> bool:
        """Whether there is no softmax."""
        return self.kind == "linear"

    @property
    def is_native(self) -> bool:
        """Whether transformers has it itself."""
        return self.kind in NATIVE or (self.kind == "window_global" and not self.global_tokens)

    def global_layers(self, layers: int) -> int:
        """Layers of so many that see everything: the last of every `global_every`, as in Gemma 2 and 3."""
        if self.window is None:
            return 0 if self.is_linear else layers
        if self.whole_layers is not None:
            return self.whole_layers
        return layers // self.global_every if self.global_every else 0

    def seen(self, position: int) -> float:
        """Keys that a layer which does not see everything sees at a position (from 0), itself among them."""
        before = position + 1
        if self.window is None or self.window >= before:
            return before
        far = before - self.window
        if self.stride:
            # Multiples of the stride among the distances from the window to the beginning.
            return self.window + position // self.stride - (self.window - 1) // self.stride
        return self.window + min(self.global_tokens, far)

    def mean_seen(self, length: int) -> float:
        """Keys seen, averaged over a row of so many tokens."""
        if self.window is None or self.window >= length:
            return (length + 1) / 2
        window, first = self.window, min(self.window, length)
        total = first * (first + 1) / 2
        rest = length - first
        if self.stride:
            return (total + sum(self.seen(place) for place in range(first, length))) / length
        # The tokens in front leave the window one by one.
        first_out = min(self.global_tokens, rest)
        total += rest * window + first_out * (first_out + 1) / 2 + (rest - first_out) * self.global_tokens
        return total / length

    def kept(self, length: int) -> int:
        """Tokens whose keys and values such a layer keeps of a sequence of so many."""
        if self.is_linear:
            return 0
        if self.window is None or self.stride:
            return length
        return min(length, self.window + self.global_tokens)


def attention_of(section: ModelSection) -> AttentionShape:
    """The attention of a new model, with what is left empty filled in. What is no number, in a form that is
    being written, is as if left empty."""
    kind: AttentionName = section.attention if section.family == "llama" else "full"
    if kind not in ATTENTION:
        kind = "full"
    if kind in ("full", "linear"):
        return AttentionShape(kind)
    stride = None
    if kind == "strided":
        stride = _number(section.attention_stride) or _stride_for(section.max_position_embeddings)
    window = _number(section.sliding_window) or stride or max(1, section.max_position_embeddings // 4)
    by_layers = kind == "window_global" and not section.global_tokens
    return AttentionShape(
        kind,
        window,
        section.global_tokens if kind == "window_global" else 0,
        section.global_attn_every_n_layers if by_layers else 0,
        stride,
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _stride_for(context: int) -> int:
    """About the square root of the context, a power of two (Child et al. 2019, section 4.2)."""
    return 1 << max(1, round(math.log2(context) / 2))


def attention_problem(section: ModelSection, given: set[str]) -> str | None:
    """What is wrong with the attention of a section that sets the keys `given`; None where nothing is."""
    keys = ("attention", "sliding_window", "global_tokens", "attention_stride", "qk_norm", "init")
    if section.model_name_or_path:
        own = section.attention != "full" or section.qk_norm or section.init != "normal"
        if own and given & {"attention", "qk_norm", "init"}:
            return (
                "attention, qk_norm and init are of new models; an existing one has its own. "
                "Leave them out, or leave out model_name_or_path"
            )
        return None
    if section.family != "llama":
        changed = [key for key in keys if getattr(section, key) != type(section).model_fields[key].default]
        return f"{', '.join(changed)}: only of family llama, not {section.family}" if changed else None
    if section.attention == "linear" and section.dropout:
        return f"linear attention has no probabilities to drop; dropout {section.dropout:g} must be 0"
    for key, kinds in {
        "sliding_window": ("sliding_window", "window_global", "strided"),
        "global_tokens": ("window_global",),
        "attention_stride": ("strided",),
    }.items():
        if key in given and getattr(section, key) and section.attention not in kinds:
            return f"{key} means nothing to attention {section.attention}; it is for {' and '.join(kinds)}"
    shape = attention_of(section)
    if shape.kind == "window_global" and not shape.global_tokens:
        layers, every = section.num_hidden_layers, shape.global_every
        if every > layers:
            return (
                f"one layer in {every} is to see everything, and there are {layers}: none would; "
                f"global_attn_every_n_layers of at most {layers}, or global_tokens"
            )
    return None
