"""Seconds that ranks spend sending: by kind, and as far as it does not hide behind computing."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.models.estimate.activations import FLOAT
from workbench.scaling.layouts.cluster import Cluster
from workbench.scaling.layouts.layout import Layout
from workbench.scaling.layouts.model import Model
from workbench.scaling.layouts.precision import Precision
from workbench.scaling.layouts.stack import Stack

TENSOR_COLLECTIVES = 2
"""All-reduces of a layer forward, one behind attention and one behind the feed-forward layer, and as many
backward (Shoeybi et al. 2019, section 3); split along the row they are an all-gather and a reduce-scatter
each, of the same bytes (Korthikanti et al. 2022, section 4.2)."""


@dataclass(frozen=True)
class Traffic:
    """Seconds of one micro-batch in one layer, `tensor` and `context`, `forward` and `backward`; in the
    `embedding`, and in the head, `head_forward` and `head_backward`, whose matrices are split too; of one
    message between two stages, `sending`; and, of a whole step, `data`: gradients and gathered weights."""

    tensor_forward: float
    tensor_backward: float
    context_forward: float
    context_backward: float
    embedding: float
    head_forward: float
    head_backward: float
    sending: float
    data: float


def traffic(
    model: Model,
    layout: Layout,
    length: int,
    on: Cluster,
    stack: Stack,
    precision: Precision,
    weights: float,
) -> Traffic:
    """What a layout sends; `weights` are those of a stage on a rank, before they are sharded."""
    tokens = layout.rows * length / layout.cp
    row = precision.width * tokens * model.hidden
    once = TENSOR_COLLECTIVES * on.collective(layout.tp, layout.stride("tp"), row, rounds=2)
    again = 2 if layout.recompute == "full" else 1
    keys = 2 * precision.width * tokens * model.keys / layout.tp
    # Every rank gets the keys and values of all the others, and their gradients come back to it: nothing of
    # it is taken to hide behind attention (nor did it in Llama 3: Llama Team 2024, section 3.3.2).
    context = on.collective(layout.cp, layout.stride("cp"), layout.cp * keys)
    # Where what was gathered is kept, backward only gives gradients back.
    back = (again if stack.keeps_gathered else again + 1) * context
    embedding, head, head_back = _ends(model, layout, tokens, on, stack, precision)
    split = layout.tp if stack.sequence_parallel else 1
    sending = on.sending(layout.stride("pp"), row / split) if layout.pp > 1 else 0.0
    return Traffic(
        tensor_forward=once,
        tensor_backward=once * again,
        context_forward=context,
        context_backward=back,
        embedding=embedding,
        head_forward=head,
        head_backward=head_back,
        sending=sending,
        data=_data(model, layout, on, stack, precision, weights),
    )


def _ends(
    model: Model, layout: Layout, tokens: float, on: Cluster, stack: Stack, precision: Precision
) -> tuple[float, float, float]:
    """Seconds that embedding and head take: the sum of what each rank has of the embeddings, the gradient of
    what the head reads, and, where each rank makes the loss of all logits, those of the others."""
    stride, row = layout.stride("tp"), tokens * model.hidden
    width = precision.width if stack.parallel_loss else FLOAT
    embedding = on.collective(layout.tp, stride, width * row, rounds=2)
    predicted = tokens * model.predicted
    back = on.collective(layout.tp, stride, precision.width * predicted * model.hidden, rounds=2)
    if stack.parallel_loss:
        return embedding, 0.0, back
    logits = precision.width * predicted * model.vocabulary
    return embedding, on.collective(layout.tp, stride, logits), back


def _data(
    model: Model, layout: Layout, on: Cluster, stack: Stack, precision: Precision, weights: float
) -> float:
    """Gradients of a step over the ranks that read different rows, and weights gathered from shards."""
    learning = model.learning
    seconds = 0.0
    inner, outer = layout.shards, layout.dp_replicate
    if inner > 1:
        stride = layout.stride("cp")
        # A collective a layer: what each takes beside its bytes counts for each.
        parts = max(1, round(model.layers / layout.pp))
        gather = _in_parts(on, inner, stride, precision.width * weights, parts)
        scatter = _in_parts(on, inner, stride, FLOAT * weights * learning, parts)
        if stack.shards_states_only:
            seconds += gather + scatter
        else:
            # For each micro-batch anew, forward and, where they were let go, backward; a pipeline keeps
            # weights and gradients of a step.
            times = 1 if layout.pp > 1 else layout.microbatches
            seconds += times * (gather * (2 if layout.reshard else 1) + scatter)
    if outer > 1:
        share = FLOAT * weights * learning / inner
        seconds += on.collective(outer, layout.stride("dp_replicate"), share, rounds=2)
    return seconds


def _in_parts(on: Cluster, size: int, stride: int, nbytes: float, parts: int) -> float:
    return parts * on.collective(size, stride, nbytes / parts)
