"""Operations of a decoder's attention: those that are done, and those that the mask leaves."""

from __future__ import annotations

from workbench.models.estimate.shape import Shape

LEAST_SPAN, CHUNK = 64, 64
"""Queries of a piece of sparse attention, and tokens of a chunk of linear attention: those of the operators,
which cannot be read from them without torch (a test compares them)."""


def decoder_attention(shape: Shape, rows: int, length: int) -> tuple[float, float]:
    """Of rows of so many tokens, in all layers, forward: scores and values of all pairs that are computed,
    and of those that are seen."""
    main, attention = shape.main, shape.attention
    if attention.is_linear:
        done = main.layers * rows * _linear(shape, length)
        return done, done
    # Two products for each pair and head: of query and key, of probability and value.
    each = 4.0 * rows * main.queries
    whole = attention.global_layers(main.layers)
    rest = main.layers - whole
    full, seen = float(length * length), length * (length + 1) / 2
    done = whole * full + rest * computed_pairs(shape, length)
    needed = whole * seen + rest * length * attention.mean_seen(length)
    return each * done, each * needed


def computed_pairs(shape: Shape, length: int) -> float:
    """Pairs that a layer with a window computes of a row: whole pieces, each over all that it reaches."""
    attention = shape.attention
    if attention.window is None or attention.window >= length:
        return float(length * length)
    span = max(LEAST_SPAN, -(-attention.window // 2))
    reach = (-(-(attention.window - 1) // span) + 1) * span + attention.global_tokens
    pairs = float(-(-length // span) * span * reach)
    if attention.stride:
        steps = -(-length // attention.stride)
        pairs += attention.stride * steps * steps
    return pairs


def _linear(shape: Shape, length: int) -> float:
    """Of one row in one layer: within chunks scores, their norm and values of all pairs; between them what
    a chunk adds to the sums, and what its queries take of them."""
    main, size = shape.main, shape.main.head_size
    tokens = -(-length // CHUNK) * CHUNK
    within = 3 * main.queries * CHUNK
    sums = (main.heads + main.key_value_heads) * size * size
    return 2.0 * tokens * (within + sums + main.queries)
