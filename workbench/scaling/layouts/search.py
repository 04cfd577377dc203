"""All layouts of a setting, the fastest that fits first, and why the others do not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from workbench.scaling.layouts.feasible import distance, divisors, problems
from workbench.scaling.layouts.layout import Layout, Recompute
from workbench.scaling.layouts.plan import Plan, Setting, plan

MOST_ROWS = 32
VIRTUAL = (1, 2, 4)
LONG = 4096
"""Rows are not shared by context parallelism where a rank would have fewer tokens than this."""
ALIKE = 1.02
"""Layouts whose steps differ by less are called equally fast: the one that splits fewer ways goes before."""


@dataclass(frozen=True)
class Found:
    """`fitting` layouts, the fastest first; `too_large` those that need more memory than there is, the
    smallest first: for each way to split the devices only its best."""

    fitting: list[Plan]
    too_large: list[Plan]


def search(setting: Setting, recomputes: tuple[Recompute, ...] = ("none", "full")) -> Found:
    """Reckon every possible layout; of each way to split the devices the fastest that fits is kept, else the
    one that comes nearest to fitting."""
    fitting: list[Plan] = []
    too_large: list[Plan] = []
    for degrees in splits(setting):
        plans = [plan(setting, layout) for layout in _variants(setting, degrees, recomputes)]
        if fits := [found for found in plans if found.fits]:
            fitting.append(min(fits, key=_worth_of_variant))
        elif plans:
            too_large.append(min(plans, key=lambda found: found.memory.peak))
    fitting.sort(key=_worth)
    too_large.sort(key=lambda found: (found.memory.peak, found.layout.words()))
    return Found(fitting, too_large)


def _worth_of_variant(found: Plan) -> tuple[int, int, int, bool, float]:
    layout = found.layout
    again = layout.recompute != "none"
    pieces, step = layout.virtual_stages, found.times.step
    # Of equally fast ones that with the fewest micro-batches: large matrices, few exchanges.
    return round(math.log(step, ALIKE)), pieces, layout.microbatches, again, step


def _worth(found: Plan) -> tuple[int, int, float, str]:
    layout = found.layout
    ways = sum(size > 1 for size in layout.axes.values()) + (layout.virtual_stages > 1)
    return round(math.log(found.times.step, ALIKE)), ways, found.times.step, layout.words()


def splits(setting: Setting) -> Iterator[Layout]:
    """Every way to split the devices that the model allows, with nothing said of the batch."""
    model, on = setting.model, setting.cluster
    inside = model.splits
    tensor = [n for n in divisors(on.gpus_per_node) if model.key_value_heads % n == 0] if inside else [1]
    tensor = [n for n in tensor if model.heads % n == 0 and model.feed_forward % n == 0]
    pipeline = [n for n in divisors(on.gpus) if n <= model.layers] if inside else [1]
    context = [n for n in divisors(on.gpus) if n == 1 or setting.length // n >= LONG] if inside else [1]
    context = [n for n in context if n == 1 or setting.length % (2 * n) == 0]
    for tp, pp, cp in product(tensor, pipeline, context):
        if on.gpus % (tp * pp * cp):
            continue
        dp = on.gpus // (tp * pp * cp)
        if setting.global_batch % dp:
            continue
        for shard in _shards(dp, tp * cp, on.gpus_per_node):
            yield Layout(dp // shard, shard, cp, tp, pp)


def _shards(dp: int, inner: int, per_node: int) -> list[int]:
    """Not at all, within a node, over eight nodes, over everything."""
    wanted = {1, dp, *(n for n in (per_node // inner, 8 * per_node // inner) if n > 1 and dp % n == 0)}
    return sorted(wanted)


def _variants(setting: Setting, degrees: Layout, recomputes: tuple[Recompute, ...]) -> Iterator[Layout]:
    for batched in degrees.with_batch(setting.global_batch):
        if batched.rows > MOST_ROWS:
            return
        virtual = VIRTUAL if degrees.pp > 1 else (1,)
        for pieces, recompute in product(virtual, recomputes):
            layout = replace(
                batched,
                virtual_stages=pieces,
                schedule="interleaved" if pieces > 1 else "1f1b",
                recompute=recompute,
                reshard=degrees.pp == 1,
            )
            if pieces == 1 or not problems(layout, setting):
                yield layout


def nearest(setting: Setting, wanted: Layout, found: Found) -> Plan | None:
    """The layout that fits and is most like one that cannot be."""
    return min(
        found.fitting,
        key=lambda other: (distance(wanted, other.layout), other.times.step),
        default=None,
    )
