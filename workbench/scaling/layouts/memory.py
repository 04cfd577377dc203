"""Bytes on a rank by component: what a layout needs of each device."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench.models.estimate.activations import FLOAT, HALF, Growth
from workbench.models.estimate.fused import CHUNK
from workbench.scaling.layouts.cluster import Cluster
from workbench.scaling.layouts.layout import Layout
from workbench.scaling.layouts.model import Model
from workbench.scaling.layouts.pipeline import layers_of_pieces, most_in_flight
from workbench.scaling.layouts.stack import CHEAP, KEPT, WORKBENCH, Stack

COMPONENTS = (
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "buffers",
    "overhead",
    "fragments",
)
GROUP_BUFFERS = 250_000_000
"""Bytes of NCCL's own buffers for each kind of group that a rank is in. An assumption."""
PREFETCHED = 2
"""Layers whose weights are gathered at a time: the one at work and the next."""


@dataclass(frozen=True)
class Precision:
    """Whether matrices are multiplied in half precision; whether a CPU has fused layers and heads, which
    are used where a layer is not split inside."""

    half: bool = True
    fused: bool = False
    fused_head: bool = False

    def within(self, layout: Layout) -> Precision:
        """What of it holds in a layout."""
        inside = layout.tp * layout.cp > 1
        return replace(
            self,
            fused=self.fused and not inside,
            # A head that is sharded is whole only inside its own forward pass.
            fused_head=self.fused_head and layout.ranks == layout.dp_replicate,
        )

    @property
    def width(self) -> int:
        """Bytes of a number that matrices are multiplied in."""
        return HALF if self.half else FLOAT


@dataclass(frozen=True)
class RankMemory:
    """Bytes on one rank of a pipeline stage, each component at its largest, and the most at once.

    `weights`, `gradients` and `optimizer` are what the rank holds of them all the time; `buffers` weights and
    gradients of other ranks that are gathered for a moment, and those of collectives; `overhead` the
    device's context or the libraries of a process; `fragments` what the allocator keeps beside.
    """

    stage: int
    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    buffers: float
    overhead: float
    fragments: float
    peak: float

    def components(self) -> dict[str, float]:
        """Each by name."""
        return {name: float(getattr(self, name)) for name in COMPONENTS}


def fullest(
    model: Model, layout: Layout, length: int, on: Cluster, stack: Stack, precision: Precision
) -> RankMemory:
    """The stage that needs most."""
    stages = [
        stage_memory(model, layout, length, on, stack, precision, stage)
        # In the middle the first has most in flight.
        for stage in sorted({0, min(1, layout.pp - 1), layout.pp - 1})
    ]
    return max(stages, key=lambda found: found.peak)


def stage_memory(
    model: Model, layout: Layout, length: int, on: Cluster, stack: Stack, precision: Precision, stage: int
) -> RankMemory:
    """What each rank of a stage holds, with rows of `length` tokens."""
    precision = precision.within(layout)
    pieces = layers_of_pieces(model.layers, layout.pp * layout.virtual_stages)
    own = [pieces[stage + number * layout.pp] for number in range(layout.virtual_stages)]
    first, last = stage == 0, stage == layout.pp - 1
    ends = (model.embedding if first else 0) + (model.head if last else 0)
    if last and not first and model.tied:
        ends += model.vocabulary * model.hidden
    whole = (sum(own) * model.layer + ends) / layout.tp
    shards = layout.shards if _is_sharded(layout) else 1
    held = whole / shards
    learning = model.learning
    if stack.shards_states_only:
        # Weights and gradients are whole on every rank, the optimiser's part of both is shared.
        weights, gradients = stack.weights * whole, stack.gradients * whole * learning
    else:
        weights, gradients = stack.weights * held, stack.gradients * held * learning
    optimizer = (stack.copies + stack.moments) * held * learning
    tokens = layout.rows * length / layout.cp
    kept, one_layer = _activations(model, layout, length, stack, precision, max(own), tokens)
    passes = most_in_flight(
        layout.schedule if layout.pp > 1 else "1f1b",
        stage,
        layout.pp,
        layout.microbatches,
        layout.virtual_stages,
    )
    activations = passes * kept + one_layer
    activations += _ends(model, layout, precision, tokens, first, last)
    logits, matrix = _logits(model, layout, stack, precision, tokens) if last else (0.0, 0.0)
    gathered, spread = _gathered(model, layout, stack, precision, ends / layout.tp, shards, whole)
    buffers = gathered + spread
    if stack.buckets and 1 < layout.ranks == layout.dp_replicate:
        # DDP's buckets are as large as the gradients, and there from the start.
        buffers += FLOAT * whole * learning
    if not on.device.is_cpu:
        buffers += GROUP_BUFFERS * sum(size > 1 for size in (layout.dp, layout.tp, layout.cp, layout.pp))
    # With one micro-batch gradients grow while activations go; with several they are there all the time.
    waiting = 0.0
    if layout.microbatches > 1:
        waiting = spread if layout.pp > 1 and spread else gradients
    moving = max(
        activations + logits + matrix + waiting + gathered,
        gradients + spread + gathered + (2 * matrix if model.tied else 0.0),
    )
    standing = weights + optimizer + (buffers - gathered - spread)
    fragments = on.device.fragments * moving
    return RankMemory(
        stage=stage,
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=activations,
        logits=logits,
        buffers=buffers,
        overhead=on.device.base,
        fragments=fragments,
        peak=standing + moving + on.device.base + fragments,
    )


def _is_sharded(layout: Layout) -> bool:
    return layout.shards > 1


def growth_bytes(
    growth: Growth, model: Model, length: int, half: bool, hidden_split: int, split: int
) -> float:
    """Bytes a layer keeps for a token on a rank: what tensor parallelism splits, and what it leaves whole."""
    precision = 1 if half else 0
    # Without a gate there is one product less.
    wide = growth.feed_forward[precision] - (0 if model.gated else (HALF if half else FLOAT))
    return (
        growth.hidden[precision] * model.hidden / hidden_split
        + (growth.queries[precision] * model.queries + growth.keys[precision] * model.keys) / split
        + wide * model.feed_forward / split
        + growth.heads * model.heads / split
        + growth.scores[precision] * model.heads / split * length
        + growth.mask[precision] * length
        + growth.one
    )


def _activations(
    model: Model,
    layout: Layout,
    length: int,
    stack: Stack,
    precision: Precision,
    layers: int,
    tokens: float,
) -> tuple[float, float]:
    """Bytes that a pass through a piece keeps, and what one layer needs beside while it is made again."""
    half, hidden_split = precision.half, layout.tp if stack.sequence_parallel else 1
    name = "fused" if precision.fused else stack.name
    if name == WORKBENCH.name and half and _is_sharded(layout):
        name = "sharded"
    full = tokens * growth_bytes(KEPT[name], model, length, half, hidden_split, layout.tp)
    if layout.recompute == "full":
        # The residual stream stays in fp32 under autocast, but not where weights come in half precision.
        width = FLOAT if stack.weights == FLOAT and name != "sharded" else precision.width
        return layers * tokens * width * model.hidden / hidden_split, full
    if layout.recompute == "selective":
        cheap = tokens * growth_bytes(CHEAP[name], model, length, half, hidden_split, layout.tp)
        return layers * min(cheap, full), max(0.0, full - cheap)
    return layers * full, 0.0


def _ends(
    model: Model, layout: Layout, precision: Precision, tokens: float, first: bool, last: bool
) -> float:
    """Of the embedding, the last norm and the head: their inputs."""
    return tokens * model.hidden * ((FLOAT if first else 0) + ((FLOAT + precision.width) if last else 0))


def _logits(
    model: Model, layout: Layout, stack: Stack, precision: Precision, tokens: float
) -> tuple[float, float]:
    """Logits with what is made of them, and the gradient of the matrix that makes them."""
    split = layout.tp if stack.parallel_loss else 1
    matrix = FLOAT * model.head_products / layout.tp
    if precision.fused_head:
        return min(stack.logit_bytes * tokens * model.vocabulary, float(CHUNK)), matrix
    return stack.logit_bytes * tokens * model.vocabulary / split, matrix


def _gathered(
    model: Model,
    layout: Layout,
    stack: Stack,
    precision: Precision,
    ends: float,
    shards: int,
    whole: float,
) -> tuple[float, float]:
    """Weights of other ranks that are here for a moment, and gradients on their way to other ranks."""
    if shards == 1 or stack.shards_states_only:
        return 0.0, 0.0
    layer = model.layer / layout.tp
    at_once = min(whole, ends + PREFETCHED * layer) if layout.reshard else whole
    # A pipeline shares the gradients of its micro-batches once, at the end of a step.
    on_the_way = whole if layout.pp > 1 else min(whole, max(PREFETCHED * layer, ends))
    return precision.width * at_once, FLOAT * on_the_way * model.learning
