"""What autograd keeps for the backward pass, in bytes, by family.

The coefficients are not fitted: each is a count of the tensors that a layer saves, as torch itself reports
them (`torch.autograd.graph.saved_tensors_hooks`), by what they grow with. Tests compare the sums with that
accounting on real models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench.models.estimate.fused import PLAIN, Fused
from workbench.models.estimate.load import Load
from workbench.models.estimate.matrices import Matrix
from workbench.models.estimate.shape import Shape, Stack

FLOAT, HALF, LONG = 4, 2, 8
"""Bytes of a number in fp32, in bf16 or fp16, and of an id."""


@dataclass(frozen=True)
class Growth:
    """Bytes that one layer saves for each vector that it works on, in fp32 and under autocast.

    Multiplied by the width of the layer (`hidden`), of all queries (`queries`), of the feed-forward layer,
    by the heads, by the length of the row that is attended to (`mask`: a float mask a pair), by heads and
    length (`scores`: probabilities of attention), by the width of all keys (`keys`), and by one.
    """

    hidden: tuple[int, int]
    feed_forward: tuple[int, int]
    one: int
    queries: tuple[int, int] = (0, 0)
    heads: int = 4
    mask: tuple[int, int] = (4, 2)
    scores: tuple[int, int] = (0, 0)
    keys: tuple[int, int] = (0, 0)

    def bytes(self, stack: Stack, length: int, half: bool) -> int:
        """Bytes for one vector in one layer."""
        precision = 1 if half else 0
        return (
            self.hidden[precision] * stack.hidden
            + self.queries[precision] * stack.queries
            + self.keys[precision] * stack.keys
            + self.feed_forward[precision] * stack.feed_forward
            + self.heads * stack.heads
            + self.mask[precision] * length
            + self.scores[precision] * length * stack.heads
            + self.one
        )


# Under autocast what norms and residual sums keep stays in fp32, and each matrix has a cast of its own of
# what it multiplies.
LLAMA = Growth(hidden=(24, 26), queries=(16, 8), feed_forward=(16, 8), one=8)
# Attention by blocks: queries, keys and values as they are, the output and a copy for the next product; no
# mask. Layers that see everything, beside it, have one in their precision.
BLOCKS = replace(LLAMA, queries=(12, 6), keys=(8, 4), mask=(0, 0))
WHOLE = replace(LLAMA, queries=(8, 4), keys=(8, 4))
# Of one operator: its input, the sum in its middle, queries, keys, values, what attention gives, gate and up.
FUSED_LLAMA = Growth(hidden=(8, 8), queries=(8, 4), keys=(8, 4), feed_forward=(8, 4), one=0, mask=(0, 0))
BERT = Growth(hidden=(32, 24), feed_forward=(8, 4), one=16)
MODERNBERT = Growth(hidden=(40, 24), feed_forward=(16, 8), one=16)
# Its masks are given in fp32 and kept once; autocast makes each layer a copy.
BART_ENCODER = Growth(hidden=(32, 24), feed_forward=(8, 4), one=16, mask=(0, 2))
BART_DECODER = Growth(hidden=(48, 34), feed_forward=(8, 4), one=24, heads=8, mask=(0, 2))
# Its biases need a gradient, which only the plain computation of attention gives: probabilities are kept.
T5_ENCODER = Growth(
    hidden=(24, 24), queries=(16, 14), feed_forward=(4, 4), one=8, heads=0, mask=(0, 0), scores=(4, 4)
)
T5_DECODER = Growth(
    hidden=(36, 34), queries=(24, 18), feed_forward=(4, 4), one=12, mask=(0, 0), scores=(4, 4)
)
XLNET = Growth(hidden=(56, 36), feed_forward=(8, 4), one=16, heads=0, mask=(8, 4), scores=(4, 6))
XLNET_TWO_STREAMS = Growth(
    hidden=(68, 42), feed_forward=(8, 4), one=16, heads=0, mask=(16, 8), scores=(8, 12)
)
XLNET_QUERY_STREAM = Growth(hidden=(20, 14), feed_forward=(8, 4), one=16, heads=0, mask=(0, 4))

# Behind a projection of the embeddings the sum that runs through the layers is in half precision too.
ELECTRA_NARROW = Growth(hidden=(32, 16), feed_forward=(8, 4), one=16)

GATED_T5 = (24, 20)
"""Bytes more for each unit of a gated feed-forward layer: its GELU is put together from single steps."""


@dataclass(frozen=True)
class Activations:
    """Bytes kept from forward to backward.

    `layers` of all layers; `inputs` what is left of them under gradient checkpointing, the input of each
    and the masks; `largest_layer` the most that one layer keeps, which is made again in its backward pass;
    `ends` of the embeddings, the last norm and the head; `logits` the log-probabilities; `casts` copies of
    the weights in half precision, `head_casts` those outside the layers.
    """

    layers: int
    inputs: int
    largest_layer: int
    ends: int
    logits: int
    casts: int
    head_casts: int

    def kept(self, checkpointing: bool) -> int:
        """All that is kept when the loss is there."""
        layers = self.inputs + self.head_casts if checkpointing else self.layers + self.casts
        return layers + self.ends + self.logits


def activations(
    shape: Shape, parts: list[Matrix], load: Load, *, half: bool, fused: Fused = PLAIN
) -> Activations:
    """What a micro-batch keeps, in fp32 or under autocast to half precision."""
    each = _layers(shape, load, half, fused)
    layers = sum(count * size for count, size, _ in each)
    if shape.family == "modernbert":
        # The first layer lacks the norm before its attention.
        layers -= load.tokens * (FLOAT * shape.main.hidden + 2 * FLOAT)
    # What is fused makes its casts again, or has made all gradients when it is through.
    casts = [
        (m, HALF * m.products)
        for m in parts
        if half and not (fused.head if m.part == "head" else fused.layers)
    ]
    return Activations(
        layers=layers,
        inputs=sum(count * size for count, _, size in each) + _masks(shape, load, half),
        largest_layer=max(size for _, size, _ in each),
        ends=_ends(shape, load, half),
        logits=0 if fused.head else FLOAT * load.places * shape.vocabulary,
        casts=sum(size for _, size in casts),
        head_casts=sum(size for m, size in casts if m.part in ("head", "projection") or m.count == 1),
    )


def _masks(shape: Shape, load: Load, half: bool) -> int:
    """What all layers read, kept once: masks of pairs of tokens, and T5's biases."""
    pairs = load.tokens * load.length
    if shape.attention.kind != "full":
        return 0
    if shape.decoder is None:
        return pairs * (2 if shape.generator is not None or shape.family == "modernbert" else 1)
    if shape.family == "bart":
        # Without autocast they are among what the ends keep, with checkpointing or without.
        return _pair_masks(load) if half else 0
    own, cross = load.length**2 + load.targets**2, load.targets * load.length
    biases = shape.decoder.heads * (FLOAT * own + (HALF if half else FLOAT) * cross)
    # The distances that the biases are looked up by are made again with the first layer.
    return _pair_masks(load) + biases - LONG * own


def _pair_masks(load: Load) -> int:
    """The masks in fp32 of an encoder, of its decoder and of what that sees of it."""
    return FLOAT * load.rows * (load.length**2 + load.targets**2 + load.length * load.targets)


def _layers(shape: Shape, load: Load, half: bool, fused: Fused) -> list[tuple[int, int, int]]:
    """For each kind of layer: how many, bytes that one saves, bytes of its input."""
    main, length, tokens = shape.main, load.length, load.tokens

    def kind(stack: Stack, growth: Growth, vectors: int = tokens, seen: int = length) -> tuple[int, int, int]:
        size = vectors * growth.bytes(stack, seen, half)
        if stack.gated and shape.family == "t5":
            size += vectors * stack.feed_forward * GATED_T5[1 if half else 0]
        kept = HALF if growth is ELECTRA_NARROW and half else FLOAT
        return stack.layers, size, kept * vectors * stack.hidden

    if fused.layers:
        return [kind(main, FUSED_LLAMA)]
    if shape.family == "llama" and (shape.attention.kind != "full" or shape.qk_norm):
        return decoder_layers(shape, load, half)
    if shape.family == "llama":
        layers, size, inputs = kind(main, LLAMA)
        if main.key_value_heads == 1:
            # One head of keys and values is seen as many without a copy.
            size -= 2 * tokens * (main.queries - main.keys) * (HALF if half else FLOAT)
        return [(layers, size, inputs)]
    if shape.family == "modernbert":
        return [kind(main, MODERNBERT)]
    if shape.family == "xlnet":
        return [_xlnet_layers(shape, load, half)]
    if shape.decoder is not None:
        targets = load.rows * load.targets
        t5 = shape.family == "t5"
        encoder = kind(main, T5_ENCODER if t5 else BART_ENCODER)
        layers, size, inputs = kind(shape.decoder, T5_DECODER if t5 else BART_DECODER, targets, load.targets)
        return [encoder, (layers, size + _cross(shape, shape.decoder, load, half), inputs)]
    return [
        kind(stack, BERT if stack.hidden == shape.embedding else ELECTRA_NARROW)
        for stack in (main, shape.generator)
        if stack is not None
    ]


def decoder_layers(shape: Shape, load: Load, half: bool) -> list[tuple[int, int, int]]:
    """The same for decoders whose layers see less than everything, or normalise queries and keys."""
    main, attention = shape.main, shape.attention
    precision, inputs = (1 if half else 0), FLOAT * load.tokens * main.hidden
    norm = 0
    if shape.qk_norm:
        # What is normalised, the result in fp32 and, before the last product, in the layer's precision.
        norm = (8, 6)[precision] * (main.queries + main.keys) + 4 * (main.heads + main.key_value_heads)
    if attention.is_linear:
        plain = replace(LLAMA, queries=(0, 0), heads=0, mask=(0, 0), one=0)
        each = plain.bytes(main, load.length, half) + linear_growth(main, half) + norm
        return [(main.layers, load.tokens * each, inputs)]
    window = attention.window
    covered = window is None or window >= load.length
    whole = main.layers if covered else attention.global_layers(main.layers)
    growth = LLAMA if attention.kind == "full" else WHOLE
    found = [
        (layers, load.tokens * (kind.bytes(main, load.length, half) + norm), inputs)
        for layers, kind in ((whole, growth), (main.layers - whole, BLOCKS))
        if layers
    ]
    if growth is LLAMA and main.key_value_heads == 1:
        layers, size, same = found[0]
        found[0] = (
            layers,
            size - 2 * load.tokens * (main.queries - main.keys) * (HALF if half else FLOAT),
            same,
        )
    return found


def linear_growth(stack: Stack, half: bool) -> int:
    """Bytes that linear attention saves of one token in one layer: features in fp32, turned and not, pairs
    within a chunk of 64, and the sums between chunks."""
    sums = 8 * stack.keys * stack.head_size // 64
    each = (43, 41)[1 if half else 0] * stack.queries + 6 * stack.keys
    return each + 228 * stack.heads + 64 * stack.key_value_heads + sums + 75


def _cross(shape: Shape, decoder: Stack, load: Load, half: bool) -> int:
    """Keys and values of what the encoder made, in one layer, and the mask or bias of each pair."""
    width = HALF if half else FLOAT
    pairs = load.rows * load.targets * load.length
    keys = 2 * load.tokens * (decoder.queries * width + (HALF * decoder.hidden if half else 0))
    if shape.family == "t5":
        return keys + pairs * width * decoder.heads
    return keys + (pairs * HALF if half else 0)


def _xlnet_layers(shape: Shape, load: Load, half: bool) -> tuple[int, int, int]:
    main, inputs = shape.main, FLOAT * load.tokens * shape.main.hidden
    square = 0 if half else FLOAT * main.hidden**2
    if shape.is_task:
        return main.layers, load.tokens * XLNET.bytes(main, load.length, half) + square, inputs
    size = load.tokens * XLNET_TWO_STREAMS.bytes(main, load.length, half)
    size += load.places * XLNET_QUERY_STREAM.bytes(main, load.length, half) + 2 * square
    return main.layers, size, inputs + FLOAT * load.places * main.hidden


def _ends(shape: Shape, load: Load, half: bool) -> int:
    """What the embeddings, the last norm and the head save."""
    width, hidden, family = (HALF if half else FLOAT), shape.main.hidden, shape.family
    tokens, places = load.tokens, load.places
    ids = LONG * tokens
    if family == "llama":
        return tokens * (2 * FLOAT * hidden + width * hidden + 2 * FLOAT * shape.main.head_size) + 2 * ids
    if shape.decoder is not None:
        targets = load.rows * load.targets
        norms = 2 if family == "t5" else 1
        saved = hidden * (norms * FLOAT * (tokens + targets) + width * targets)
        saved += 0 if half else hidden * FLOAT * tokens
        if family == "t5":
            return saved + 2 * ids + LONG * (load.length**2 + load.targets**2)
        return saved + 3 * ids + (0 if half else _pair_masks(load))
    # The transform before the last layer of a masked language model, where the logits are made.
    head = places * (4 * width * shape.embedding + 2 * FLOAT + 2 * LONG) if shape.objective != "plm" else 0
    if shape.is_task:
        rows_only = shape.objective in ("classification", "regression")
        steps = 4 if family == "modernbert" and not rows_only else 1
        head = tokens * (steps * width * hidden + (0 if rows_only else FLOAT * shape.labels))
    if family == "xlnet":
        mapping = 0 if shape.is_task or half else FLOAT * places * load.length
        return head + mapping + ids + places * width * hidden
    if family == "modernbert":
        # Two kinds of rotary positions; the norms of the embeddings and of the last layer.
        return head + tokens * (4 * FLOAT * shape.main.head_size + 2 * FLOAT * hidden + 4 * FLOAT) + ids
    saved = FLOAT * shape.embedding + 2 * FLOAT + 2 * LONG
    if shape.embedding != hidden:
        saved += width * shape.embedding
    if shape.objective == "rtd":
        # Two encoders on the same embeddings, and the discriminator's dense layer.
        saved = 2 * (FLOAT * shape.embedding + width * shape.embedding) + 3 * width * hidden + 6 * FLOAT
    return head + tokens * saved
