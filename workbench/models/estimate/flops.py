"""Floating-point operations of training: two for each multiplication of a weight with a number, forward,
and twice as many backward (Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022, appendix B).

What is counted are the products of matrices, as torch's own counter does; norms, softmax and sums are left
out, which are a few percent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.models.estimate.decoder_attention import decoder_attention
from workbench.models.estimate.load import Load
from workbench.models.estimate.matrices import Matrix, Per
from workbench.models.estimate.shape import Shape, Stack

Tuning = Literal["full", "frozen", "lora", "prompt", "prefix"]


@dataclass(frozen=True)
class Flops:
    """Operations for one token, of an encoder or of a decoder, averaged over a micro-batch.

    `weights` of products with weights, `attention` of scores and values of all pairs of tokens in a row,
    forward; `attention_needed` of the pairs that the masks of causal and windowed attention let through,
    which is what a kernel that leaves the others out does; `backward` of the whole backward pass,
    `recomputed` what gradient checkpointing does a second time.
    """

    weights: float
    attention: float
    attention_needed: float
    backward: float
    recomputed: float

    @property
    def forward(self) -> float:
        """Forward."""
        return self.weights + self.attention

    @property
    def training(self) -> float:
        """Forward and backward: the model's own, without what is done twice."""
        return self.forward + self.backward

    @property
    def executed(self) -> float:
        """What the machine does."""
        return self.training + self.recomputed


def flops(
    shape: Shape, parts: list[Matrix], load: Load, *, tuning: Tuning = "full", checkpointing: bool = False
) -> Flops:
    """The operations of a micro-batch, for each of its tokens."""
    counts = _vectors(load)
    weights = sum(2.0 * matrix.products * counts[matrix.per] for matrix in parts)
    attention, needed = _attention(shape, load)
    head = sum(2.0 * m.products * counts[m.per] for m in parts if not m.body)
    if tuning == "frozen":
        # The gradient ends at the head's first layer, whose input needs none.
        first = next(m for m in parts if not m.body)
        backward = 2 * head - 2.0 * first.products * counts[first.per]
    elif tuning in ("lora", "prompt", "prefix"):
        # The weights themselves have no gradient, only what flows through them.
        backward = weights + 2 * attention
    else:
        backward = 2 * (weights + attention) - _without_gradient(shape, parts, load)
    recomputed = weights - head + attention if checkpointing else 0.0
    tokens = load.counted
    return Flops(
        weights / tokens, attention / tokens, needed / tokens, backward / tokens, recomputed / tokens
    )


def _vectors(load: Load) -> dict[Per, int]:
    return {
        "tokens": load.tokens,
        "targets": load.rows * load.targets,
        "places": load.places,
        "rows": load.rows,
        "queries": load.tokens + load.places,
        "positions": 2 * load.tokens,
    }


def _pairs(stack: Stack, rows: int, queries: int, keys: int) -> float:
    """Scores and values of all pairs, in all layers."""
    return 4.0 * stack.layers * rows * queries * keys * stack.queries


def _attention(shape: Shape, load: Load) -> tuple[float, float]:
    """Operations of attention, of all pairs and of those that the masks leave."""
    main, rows, length = shape.main, load.rows, load.length
    full = _pairs(main, rows, length, length)
    if shape.family == "llama":
        return decoder_attention(shape, rows, length)
    if shape.family == "modernbert":
        window = min(length, shape.local_attention + 1)
        share = shape.global_layers / main.layers
        return full, full * (share + (1 - share) * window / length)
    if shape.family == "xlnet":
        found = _xlnet_attention(shape, load)
        return found, found
    if shape.decoder is not None:
        own = _pairs(shape.decoder, rows, load.targets, load.targets)
        cross = _pairs(shape.decoder, rows, load.targets, length)
        causal = own * (load.targets + 1) / (2 * load.targets)
        return full + own + cross, full + causal + cross
    if shape.generator is not None:
        full += _pairs(shape.generator, rows, length, length)
    return full, full


def _xlnet_attention(shape: Shape, load: Load) -> float:
    """Scores by content and, against twice the length, by relative position; segments; values; and what
    brings the queries of predicted places to where they stand, and back."""
    streams = 1 if shape.is_task else 2
    return shape.main.layers * (streams * _stream(shape, load) + _mapping(shape, load))


def _stream(shape: Shape, load: Load) -> float:
    """Attention of one stream in one layer."""
    width, heads = shape.main.hidden, shape.main.heads
    return 2.0 * load.tokens * (load.length * width * 4 + 2 * width) + _segments(load, heads)


def _segments(load: Load, heads: int) -> float:
    return 4.0 * load.tokens * load.length * heads


def _mapping(shape: Shape, load: Load) -> float:
    return 0.0 if shape.is_task else 4.0 * load.places * load.length * shape.main.hidden


def _without_gradient(shape: Shape, parts: list[Matrix], load: Load) -> float:
    """What XLNet need not do in the backward pass: positions, segments and places have no gradient, and the
    content stream of the last layer, which nothing reads, has none at all."""
    if shape.family != "xlnet":
        return 0.0
    main, tokens = shape.main, load.tokens
    streams = 1 if shape.is_task else 2
    positions = sum(2.0 * m.products * 2 * tokens for m in parts if m.per == "positions")
    constant = main.layers * (streams * _segments(load, main.heads) + _mapping(shape, load))
    if shape.is_task:
        return positions + constant
    unread = sum(2.0 * m.products / m.count * tokens for m in parts if m.per == "queries")
    last = 2 * (unread + _stream(shape, load)) - _segments(load, main.heads)
    return positions + constant + last
