"""Who attends to whom, as matrices of booleans: a row for each query, a column for each key."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from workbench.tui.build.design import Design

Matrix = list[list[bool]]

SHARES = (0.0, 0.28, 0.44, 0.76, 1.0)
"""Where the documents of a packed row begin and end in the picture."""


@dataclass(frozen=True)
class Pattern:
    """One matrix, what it is called, and what there is to know about it."""

    title: str
    matrix: Matrix
    words: str = ""


def matrix_of(rows: int, columns: int, sees: Callable[[int, int], bool]) -> Matrix:
    """The matrix of a rule over (query, key)."""
    return [[sees(query, key) for key in range(columns)] for query in range(rows)]


def documents(size: int) -> list[int]:
    """The document of each of `size` places of a packed row."""
    bounds = [round(share * size) for share in SHARES]
    return [number for number, (low, high) in enumerate(pairwise(bounds)) for _ in range(low, high)]


def sample_order(size: int, seed: int) -> list[int]:
    """A random order to predict `size` places in: `order[place]` is when its turn is."""
    order = list(range(size))
    random.Random(seed).shuffle(order)
    return order


def extents(design: Design, size: int) -> list[tuple[int, int]]:
    """Rows and columns of the matrices that `patterns_of` gives for this size."""
    if design.family.is_encoder_decoder:
        targets = _targets(size)
        return [(size, size), (targets, targets), (targets, size)]
    two = design.family.name in ("xlnet", "modernbert")
    if design.family.name == "llama":
        two = bool(design.section.attention_shape.global_every)
    return [(size, size)] * (2 if two else 1)


def patterns_of(design: Design, size: int, seed: int) -> list[Pattern]:
    """The attention of a design on `size` places that stand for a row."""
    family = design.family
    if family.is_encoder_decoder:
        return _encoder_decoder(design, size)
    if family.name == "xlnet":
        return _permutation(size, seed)
    piece = documents(size) if design.blocks_of_documents else [0] * size
    packed = "packed documents do not see each other" if design.blocks_of_documents else ""
    if family.name == "llama" and design.section.attention_shape.kind != "full":
        return decoder_patterns(design, size, piece, packed)
    if family.name == "llama":
        causal = matrix_of(size, size, lambda q, k: k <= q and piece[q] == piece[k])
        return [Pattern("causal", causal, packed or "each token sees itself and what is before it")]
    everything = matrix_of(size, size, lambda q, k: piece[q] == piece[k])
    if family.name == "modernbert":
        return _local_and_global(design, everything, size)
    return [Pattern("bidirectional", everything, packed or "each token sees all others")]


def decoder_patterns(design: Design, size: int, piece: Sequence[int], packed: str) -> list[Pattern]:
    """The attention of a decoder that does not see everything."""
    section, attention = design.section, design.section.attention_shape
    # A place of the picture stands for so many tokens; what a pattern has of them is never less than a place.
    scale = max(1.0, design.length / size)
    starts = [piece.index(number) for number in piece]
    causal = matrix_of(size, size, lambda q, k: k <= q and piece[q] == piece[k])
    if attention.is_linear:
        heads, width = section.key_value_heads, section.hidden_size // section.num_attention_heads
        words = f"all before, but as {heads:,} sums of {width:,} × {width:,} numbers: no pairs are made"
        return [Pattern("linear", causal, words)]
    window = attention.window or design.length
    reach = max(1, round(window / scale))
    stride = max(2, round((attention.stride or 0) / scale))
    front = -(-attention.global_tokens // scale)

    def sees(query: int, key: int) -> bool:
        near = query - key < reach
        first = key - starts[key] < front
        stepped = attention.stride is not None and (query - key) % stride == 0
        return causal[query][key] and (near or first or stepped)

    words = f"window of {window:,} tokens"
    if attention.global_tokens:
        words += f", and the {attention.global_tokens:,} first of each document"
    if attention.stride:
        words += f", and every {attention.stride:,}th before it"
    found = Pattern("window", matrix_of(size, size, sees), words)
    if not attention.global_every:
        return [found if not packed else Pattern("window", found.matrix, f"{words}; {packed}")]
    layers = section.num_hidden_layers
    whole = attention.global_layers(layers)
    everything = f"one layer in {attention.global_every:,}, {whole:,} of {layers:,}, the last of each group"
    others = f"{words}, {layers - whole:,} of {layers:,} layers"
    return [Pattern("global", causal, everything), Pattern("window", found.matrix, others)]


def _local_and_global(design: Design, everything: Matrix, size: int) -> list[Pattern]:
    section = design.section
    layers, every = section.num_hidden_layers, section.global_attn_every_n_layers
    wide = -(-layers // every)
    # A place stands for so many tokens; a token sees half a window to each side.
    reach = section.local_attention // 2 * size / design.length
    near = matrix_of(size, size, lambda q, k: everything[q][k] and abs(q - k) <= reach)
    window = f"window of {section.local_attention:,} tokens, {layers - wide:,} of {layers:,} layers"
    return [
        Pattern("global", everything, f"one layer in {every:,} from the first, {wide:,} of {layers:,}"),
        Pattern("local", near, window),
    ]


def _encoder_decoder(design: Design, size: int) -> list[Pattern]:
    packed = design.blocks_of_documents and design.family.name == "t5"
    piece = documents(size) if packed else [0] * size
    targets = _targets(size)
    said = documents(targets) if packed else [0] * targets
    note = "packed documents do not see each other" if packed else ""
    return [
        Pattern("encoder", matrix_of(size, size, lambda q, k: piece[q] == piece[k]), note or "all see all"),
        Pattern("decoder", matrix_of(targets, targets, lambda q, k: k <= q and said[q] == said[k]), "causal"),
        Pattern("cross", matrix_of(targets, size, lambda q, k: said[q] == piece[k]), "decoder on encoder"),
    ]


def _targets(size: int) -> int:
    """An even number of places for the target of a source of `size`."""
    return max(4, size // 3 * 2)


def _permutation(size: int, seed: int) -> list[Pattern]:
    turn = sample_order(size, seed)
    by_turn: Sequence[int] = sorted(range(size), key=turn.__getitem__)
    first = " ".join(str(place + 1) for place in by_turn[:8])
    return [
        Pattern(
            "content stream h",
            matrix_of(size, size, lambda q, k: turn[k] <= turn[q]),
            f"order {first} …; v draws another",
        ),
        Pattern(
            "query stream g",
            matrix_of(size, size, lambda q, k: turn[k] < turn[q]),
            "as h, but not itself: that is what it predicts",
        ),
    ]
