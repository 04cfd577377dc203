"""Bytes on a rank by component: what a layout needs of each device."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.models.estimate.activations import FLOAT
from workbench.scaling.layouts.cluster import Cluster
from workbench.scaling.layouts.kept import kept
from workbench.scaling.layouts.layout import Layout
from workbench.scaling.layouts.model import Model
from workbench.scaling.layouts.pipeline import layers_of_pieces, most_in_flight
from workbench.scaling.layouts.precision import Precision
from workbench.scaling.layouts.stack import Stack

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
    found = kept(model, layout, length, stack, precision, layers=max(own), first=first, last=last)
    passes = most_in_flight(
        layout.schedule if layout.pp > 1 else "1f1b",
        stage,
        layout.pp,
        layout.microbatches,
        layout.virtual_stages,
    )
    standing_by = passes * found.each + found.ends
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
    # The loss is through with its logits before a layer is made again.
    loss = found.logits + found.matrix
    moving = max(
        standing_by + max(loss, found.again) + waiting + gathered,
        gradients + spread + gathered + (2 * found.matrix if model.tied else 0.0),
    )
    standing = weights + optimizer + (buffers - gathered - spread)
    fragments = on.device.fragments * moving
    return RankMemory(
        stage=stage,
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=standing_by + found.again,
        logits=found.logits,
        buffers=buffers,
        overhead=on.device.base,
        fragments=fragments,
        peak=standing + moving + on.device.base + fragments,
    )


def _is_sharded(layout: Layout) -> bool:
    return layout.shards > 1


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
