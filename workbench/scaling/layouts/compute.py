"""Seconds that a rank computes: a micro-batch forward and backward through a stage, and the optimiser."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.models.estimate.activations import FLOAT
from workbench.scaling.layouts.cluster import MEMORY_EFFICIENCY, Cluster
from workbench.scaling.layouts.layout import Layout
from workbench.scaling.layouts.model import Model
from workbench.scaling.layouts.precision import Precision
from workbench.scaling.layouts.stack import Stack

FLASH_BACKWARD = 2.5
"""Operations of attention backward over those forward: five products for two (Dao 2023, section 3.1)."""
SCORE_BYTES = 13
"""Of each score of attention that is written: by the product, through softmax and dropout, into the next
product, in half precision."""
LOSS_PASSES = 3
"""Times that loss and gradient go over what the logits take."""


@dataclass(frozen=True)
class Work:
    """Seconds of one micro-batch: `forward` and `backward` of one layer (what is made again is in
    `backward`), `head_forward` and `head_backward` of head and loss."""

    forward: float
    backward: float
    head_forward: float
    head_backward: float


def work(model: Model, layout: Layout, length: int, on: Cluster, stack: Stack, precision: Precision) -> Work:
    """What a micro-batch takes on a rank, without any waiting for others."""
    device = on.device
    peak = device.half if precision.half else device.single
    tokens = layout.rows * length / layout.cp
    products = _product(tokens, model.layer_products / layout.tp, model.hidden, peak, on, precision)
    attention = _attention(model, layout, length, tokens, peak, on, stack)
    moved = _moved(model, layout, tokens, stack, precision) / (MEMORY_EFFICIENCY * device.memory_rate)
    starting = stack.operators * device.launch
    forward = max(products + attention + moved, starting)
    factor = FLASH_BACKWARD if stack.fused_attention else 2.0
    backward = max(2 * products + factor * attention + 2 * moved, 2 * starting)
    # Where scores are written, they are what is not kept (Korthikanti et al. 2022, section 5).
    cheap = moved if stack.fused_attention else attention
    again = {"none": 0.0, "selective": cheap, "full": forward}[layout.recompute]
    split = layout.tp if stack.parallel_loss else 1
    predicted = tokens * model.predicted
    head = _product(predicted, model.head_products / layout.tp, model.hidden, peak, on, precision)
    loss = stack.logit_bytes * predicted * model.vocabulary / split
    loss /= MEMORY_EFFICIENCY * device.memory_rate
    return Work(forward, backward + again, head + loss, 2 * head + (LOSS_PASSES - 1) * loss)


def _attention(
    model: Model, layout: Layout, length: int, tokens: float, peak: float, on: Cluster, stack: Stack
) -> float:
    """Seconds of attention of one layer forward; ranks of context parallelism share the pairs evenly."""
    device = on.device
    pairs = tokens * length
    if stack.fused_attention:
        # Causal: half of all pairs.
        return 2.0 * pairs * model.queries / layout.tp / (device.attention * peak)
    written = SCORE_BYTES * pairs * model.heads / layout.tp
    computing = 4.0 * pairs * model.queries / layout.tp / (device.products * peak)
    return computing + written / (MEMORY_EFFICIENCY * device.memory_rate)


def _product(
    tokens: float, products: float, width: int, peak: float, on: Cluster, precision: Precision
) -> float:
    """Multiplying tokens with matrices: bound by operations, or by reading the weights."""
    computing = 2.0 * tokens * products / (on.device.products * peak)
    reading = precision.width * (products + 4 * tokens * width)
    reading /= MEMORY_EFFICIENCY * on.device.memory_rate
    return max(computing, reading)


def _moved(model: Model, layout: Layout, tokens: float, stack: Stack, precision: Precision) -> float:
    """Bytes that the element-wise work of one layer reads and writes, forward."""
    hidden, queries, wide = stack.moving
    split = layout.tp if stack.sequence_parallel else 1
    numbers = hidden * model.hidden / split
    numbers += (queries * model.queries + wide * model.feed_forward) / layout.tp
    return tokens * numbers * (1.0 if precision.half else 2.0)


def optimizer(weights: float, layout: Layout, on: Cluster, stack: Stack) -> float:
    """Seconds that AdamW takes over so many weights of a rank: all its state read and written once."""
    share = weights / layout.shards
    read = stack.weights + stack.copies + stack.gradients + stack.moments
    written = stack.weights + stack.copies + stack.moments
    # And the norm of the gradient reads it once more.
    total = share * (read + written + FLOAT)
    return total / (MEMORY_EFFICIENCY * on.device.memory_rate)
