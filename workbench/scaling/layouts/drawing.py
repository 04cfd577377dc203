"""A layout as pictures of text: devices in their nodes with their coordinates, and a pipeline's schedule.

Lines are made of pieces of text with a role each, as the interface's panes and the command line show them.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.scaling.layouts.layout import Layout
from workbench.scaling.layouts.pipeline import Slot, orders, simulate
from workbench.scaling.layouts.plan import Plan

Span = tuple[str, str]
Line = tuple[Span, ...]

LETTERS = {"pp": "p", "dp_replicate": "r", "dp_shard": "s", "cp": "c", "tp": "t"}
WORDS = {
    "pp": "stage of the pipeline",
    "dp_replicate": "copy of the model",
    "dp_shard": "shard of it",
    "cp": "piece of the rows",
    "tp": "piece of each matrix",
}
NODES_SHOWN = 6
STAGE_ROLES = ("one", "two", "three", "key")
SIMULATED = 40
"""Micro-batches are drawn up to so many for each stage: the middle of a longer schedule repeats itself."""


def draw_devices(layout: Layout, per_node: int, width: int) -> list[Line]:
    """A row a node, a cell a device: which coordinates it has. Nodes that only repeat the pattern are left
    out, and said to be."""
    nodes = -(-layout.ranks // per_node)
    axes = [name for name, size in layout.axes.items() if size > 1]
    if not axes:
        return [(("one device holds everything", "dim"),)]
    label = len(f"node {nodes - 1} ")
    cell = max(len(_cell(layout, axes, rank)) for rank in (0, layout.ranks - 1)) + 1
    across = max(1, min(per_node, (width - label) // cell))
    lines: list[Line] = []
    for node in _nodes_shown(layout, per_node, nodes):
        if node is None:
            lines.append(((f"{'':{label}}⋮", "dim"),))
            continue
        first = node * per_node
        ranks = range(first, min(first + per_node, layout.ranks))
        for start in range(0, len(ranks), across):
            name = f"node {node}" if start == 0 else ""
            spans: list[Span] = [(f"{name:{label}}", "dim")]
            for rank in ranks[start : start + across]:
                stage = layout.coordinates(rank)["pp"]
                role = STAGE_ROLES[stage % len(STAGE_ROLES)]
                spans.append((f"{_cell(layout, axes, rank):{cell}}", role))
            lines.append(tuple(spans))
    words = ", ".join(f"{LETTERS[name]} {WORDS[name]}" for name in axes)
    return [*lines, ((words, "dim"),)]


def _cell(layout: Layout, axes: Sequence[str], rank: int) -> str:
    place = layout.coordinates(rank)
    return "".join(f"{LETTERS[name]}{place[name]}" for name in axes)


def _nodes_shown(layout: Layout, per_node: int, nodes: int) -> list[int | None]:
    """The first nodes, where the second stage begins, and the last; None where some are left out."""
    if nodes <= NODES_SHOWN:
        return list(range(nodes))
    each = max(1, layout.ranks // layout.pp // per_node)
    wanted = {0, 1, nodes - 1} | ({each - 1, each} if layout.pp > 1 else {2})
    shown: list[int | None] = []
    before = -1
    for node in sorted(n for n in wanted if n < nodes):
        if node != before + 1:
            shown.append(None)
        shown.append(node)
        before = node
    return shown


def draw_schedule(plan: Plan, width: int, *, ascii_only: bool = False) -> list[Line]:
    """Time from left to right, a row a stage: the number of the micro-batch (its last digit) in each forward
    and backward pass, a dot where the stage waits. Where all of it is too long its middle is left out, and
    where even filling the pipeline is, a place stands for several units: F forward, B backward."""
    layout = plan.layout
    if layout.pp == 1:
        return []
    microbatches = layout.microbatches
    most = SIMULATED if layout.pp <= 16 else 2 * layout.pp
    if microbatches > most:
        rounds = max(1, most // layout.pp)
        microbatches = rounds * layout.pp if layout.schedule == "interleaved" else most
    pieces = layout.virtual_stages
    slots = simulate(
        orders(layout.schedule, layout.pp, microbatches, pieces),
        [1.0] * (layout.pp * pieces),
        [2.0] * (layout.pp * pieces),
    )
    end = round(max(row[-1].end for row in slots))
    wait = "." if ascii_only else "·"
    label = len(f"stage {layout.pp - 1} ")
    room = max(8, width - label)
    deep = layout.pp > room // 3
    lines: list[Line] = []
    for stage in _rows_shown(layout.pp):
        if stage is None:
            lines.append(((f"{'':{label}}{'|' if ascii_only else '⋮'}", "dim"),))
            continue
        cells = _cells(slots[stage], end, wait, layout.pp, letters=deep)
        shown = _sampled(cells, room) if deep else _cut(cells, room, "~" if ascii_only else "┆")
        lines.append(((f"{f'stage {stage}':{label}}", "dim"), *_spans(shown)))
    return lines


def _rows_shown(stages: int) -> list[int | None]:
    if stages <= 8:
        return list(range(stages))
    return [0, 1, 2, 3, None, stages - 2, stages - 1]


def _sampled(cells: list[Span], room: int) -> list[Span]:
    """As many cells as there is room for, at even distances."""
    return [cells[place * len(cells) // room] for place in range(room)] if len(cells) > room else cells


def _cells(row: Sequence[Slot], end: int, wait: str, stages: int, *, letters: bool) -> list[Span]:
    """A cell for each unit of time, a forward pass of a piece taking one."""
    cells: list[Span] = [(wait, "dim")] * end
    for slot in row:
        shade = "two" if slot.work.backward else "one"
        # Later pieces of the model on the same stage look different.
        if slot.work.piece // stages % 2:
            shade = "three" if slot.work.backward else "key"
        for unit in range(round(slot.start), round(slot.end)):
            word = ("B" if slot.work.backward else "F") if letters else str(slot.work.microbatch % 10)
            cells[unit] = (word, shade)
    return cells


def _cut(cells: list[Span], room: int, mark: str) -> list[Span]:
    if len(cells) <= room:
        return cells
    left = (room - 1 + 1) // 2
    right = room - 1 - left
    return [*cells[:left], (mark, "dim"), *cells[len(cells) - right :]]


def _spans(cells: Sequence[Span]) -> list[Span]:
    """Neighbours of one role as one piece."""
    spans: list[Span] = []
    for text, role in cells:
        if spans and spans[-1][1] == role:
            spans[-1] = (spans[-1][0] + text, role)
        else:
            spans.append((text, role))
    return spans
