"""What a rank keeps of a micro-batch from its forward to its backward pass, in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.models.estimate.activations import FLOAT, HALF, Growth, activations
from workbench.models.estimate.fused import CHUNK, Fused
from workbench.models.estimate.load import load_for
from workbench.models.estimate.matrices import matrices
from workbench.scaling.layouts.layout import Layout
from workbench.scaling.layouts.model import Model
from workbench.scaling.layouts.precision import Precision
from workbench.scaling.layouts.stack import CHEAP, KEPT, WORKBENCH, Stack


@dataclass(frozen=True)
class Kept:
    """Bytes of one micro-batch: `each` pass through a piece of so many layers, `again` while one layer is
    made again, `ends` of embedding and head, `logits` with what is made of them, `matrix` the gradient of
    what makes them."""

    each: float
    again: float
    ends: float
    logits: float
    matrix: float


def kept(
    model: Model,
    layout: Layout,
    length: int,
    stack: Stack,
    precision: Precision,
    *,
    layers: int,
    first: bool,
    last: bool,
) -> Kept:
    """What a stage keeps whose largest piece has so many layers, and which is the first, the last or both."""
    if is_whole(model, layout, stack, precision):
        return _as_estimated(model, layout, length, stack, precision)
    tokens = layout.rows * length / layout.cp
    each, again = _layers(model, layout, length, stack, precision, layers, tokens)
    if stack.keeps_gathered and layout.cp > 1:
        gathered = _gathered_keys(model, layout, length, precision)
        each, again = (
            (each, again + gathered) if layout.recompute == "full" else (each + layers * gathered, again)
        )
    ends = (FLOAT if first else 0) + ((FLOAT + precision.width) if last else 0)
    split = layout.tp if stack.parallel_loss else 1
    logits = stack.logit_bytes * tokens * model.vocabulary / split if last else 0.0
    matrix = FLOAT * model.head_products / layout.tp if last else 0.0
    masks = _masks(model, layout, length, precision) if stack.keeps_gathered else 0.0
    return Kept(each, again, tokens * model.hidden * ends + masks, logits, matrix)


def _gathered_keys(model: Model, layout: Layout, length: int, precision: Precision) -> float:
    """Bytes of the keys and values of other ranks that attention of one layer keeps, beside its own.

    The two pieces of a rank see 2·cp + 1 pieces together. Under a mask each head of queries has a copy of
    its keys; flash attention, where a row is one document, reads what was gathered.
    """
    own = layout.rows * length / layout.cp
    if _is_masked(model, precision):
        seen = layout.rows * length * (1 + 1 / (2 * layout.cp))
        return 2 * precision.width * max(0.0, seen - own) * model.queries / layout.tp
    return 2 * precision.width * (layout.rows * length - own) * model.keys / layout.tp


def _masks(model: Model, layout: Layout, length: int, precision: Precision) -> float:
    """Bytes of the masks of what queries see, and of the one in use as numbers, at most: a document of all
    the row. A pipeline has those of all micro-batches of a step."""
    if layout.cp == 1 or not _is_masked(model, precision):
        return 0.0
    piece = length / (2 * layout.cp)
    masks = layout.rows * piece * (length + piece)
    times = layout.microbatches if layout.pp > 1 else 1
    return times * masks + precision.width * layout.rows * piece * length


def _is_masked(model: Model, precision: Precision) -> bool:
    """Whether attention over ranks takes masks: where rows hold several documents, each of which sees itself
    alone, where layers have windows, and where it is in fp32, as on CPUs, which flash attention has not."""
    data = model.recipe.data if model.recipe is not None else None
    several = data is not None and data.packing and data.isolate_documents
    windows = model.shape is not None and model.shape.attention.window is not None
    return several or windows or not precision.half


def is_whole(model: Model, layout: Layout, stack: Stack, precision: Precision) -> bool:
    """Whether each rank runs all of the model as one process would, so that the estimates know what it keeps.

    Not where weights come in half precision: the residual stream of a decoder is in it then too.
    """
    inside = layout.tp * layout.cp * layout.pp > 1
    halved = precision.half and layout.shards > 1 and model.splits
    known = model.recipe is not None and model.shape is not None and stack is WORKBENCH
    return known and not inside and not halved and layout.recompute != "selective"


def _as_estimated(model: Model, layout: Layout, length: int, stack: Stack, precision: Precision) -> Kept:
    """As the estimates have it, which tests compare with torch's own accounting."""
    shape, recipe = model.shape, model.recipe
    assert shape is not None and recipe is not None
    load = load_for(recipe, shape, layout.rows, length)
    fused = Fused(precision.fused, precision.fused_head)
    found = activations(shape, matrices(shape), load, half=precision.half, fused=fused)
    again = layout.recompute == "full" and shape.family != "xlnet"
    casts = 0 if layout.shards > 1 else found.head_casts if again else found.casts
    logits = float(stack.logit_bytes * load.places * shape.vocabulary)
    return Kept(
        each=(found.inputs if again else found.layers) + casts,
        again=float(found.largest_layer) if again else 0.0,
        ends=float(found.ends),
        logits=min(logits, float(CHUNK)) if precision.fused_head else logits,
        matrix=float(FLOAT * shape.vocabulary * shape.embedding) if load.places else 0.0,
    )


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


def _layers(
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
    if name == WORKBENCH.name and half and layout.shards > 1:
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
