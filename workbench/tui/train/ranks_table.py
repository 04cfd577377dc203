"""The ranks of a run in rows: one each where they are few, one for all of a host where they are many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

from workbench.store.ranks import OVER, Rank
from workbench.store.stragglers import own_work, step_seconds
from workbench.tui.text import reveal_control, short_bytes, short_number
from workbench.tui.widgets.text_lines import Line, Span, plain

LETTERS = {"pp": "p", "dp_replicate": "r", "dp_shard": "s", "cp": "c", "tp": "t"}
LEVELS = {"braille": " ▁▂▃▄▅▆▇█", "block": " ▁▂▃▄▅▆▇█", "ascii": " .:-=+*#@"}
HISTORY = 8
HEADS = (
    "rank",
    "place",
    "host",
    "device",
    "doing",
    "tokens/s",
    "own work",
    "a step",
    "memory",
    "peak",
    "last",
)
RIGHT = (0, 5, 6, 7, 8, 9)
LEAVE_OUT = (9, 3, 7, 2, 10, 1, 4)
"""Columns that are left out where there is no room, the least telling first."""
CELLS = 24
"""Room for the cells of a host, more where it has more ranks."""


@dataclass(frozen=True)
class Marked:
    """Ranks, and which of them are `bad` (silent, failed) or `late`."""

    ranks: Sequence[Rank]
    bad: frozenset[int]
    late: frozenset[int]

    def role(self, rank: Rank, otherwise: str) -> str:
        """How a rank is written."""
        number = rank.place.rank
        return "bad" if number in self.bad else "warn" if number in self.late else otherwise


def place_words(rank: Rank) -> str:
    """The coordinates of a rank on the axes that are split: `p0s3t1`."""
    axes = rank.place.axes
    return "".join(
        f"{LETTERS.get(name, name[:1])}{number}"
        for name, number in rank.place.coordinates.items()
        if axes.get(name, 1) > 1
    )


def table(marked: Marked, width: int, symbols: str) -> list[Line]:
    """A row a rank; what there is no room for is left out."""
    most = max((work for rank in marked.ranks for work in _history(rank)), default=0.0)
    rows = [_cells(rank, most, symbols) for rank in marked.ranks]
    widths = [max(len(head), *(len(row[n]) for row in rows)) for n, head in enumerate(HEADS)]
    shown = [n for n in range(len(HEADS)) if n != 1 or any(row[1] for row in rows)]
    for n in LEAVE_OUT:
        if sum(widths[m] + 2 for m in shown) - 2 <= width:
            break
        shown = [m for m in shown if m != n]
    lines: list[Line] = [plain("  ".join(_aligned(HEADS[n], n, widths) for n in shown), "dim")]
    for rank, row in zip(marked.ranks, rows, strict=True):
        spans: list[Span] = []
        for n in shown:
            role = "key" if n == 1 else "dim" if n in (2, 3) else ""
            spans.append((_aligned(row[n], n, widths) + "  ", marked.role(rank, role)))
        lines.append(tuple(spans))
    return lines


def _aligned(text: str, column: int, widths: Sequence[int]) -> str:
    return f"{text:>{widths[column]}}" if column in RIGHT else f"{text:<{widths[column]}}"


def _cells(rank: Rank, most: float, symbols: str) -> list[str]:
    place, work, step = rank.place, own_work(rank), step_seconds(rank)
    return [
        str(place.rank),
        place_words(rank),
        reveal_control(place.host)[:16],
        reveal_control(place.device)[:18],
        rank.phase,
        short_number(rank.tokens_per_second) if rank.tokens_per_second else "–",
        seconds_words(work),
        seconds_words(step),
        _of(rank.memory, rank.memory_limit),
        short_bytes(rank.peak_memory) if rank.peak_memory is not None else "–",
        spark(_history(rank), most, symbols),
    ]


def _of(memory: int | None, limit: int | None) -> str:
    """`56.8/74.5 GiB`, the unit once where both have the same."""
    if memory is None:
        return "–"
    words = short_bytes(memory)
    if not limit:
        return words
    whole = short_bytes(limit)
    number, _, unit = words.partition(" ")
    return f"{number}/{whole}" if whole.endswith(f" {unit}") else f"{words}/{whole}"


def _history(rank: Rank) -> list[float]:
    """The last steps' own work, or their times where that is not measured."""
    busy = [value for value in rank.busy if value is not None]
    return list((busy or list(rank.seconds))[-HISTORY:])


def spark(values: Sequence[float], most: float, symbols: str) -> str:
    """A small chart of values from 0 to `most`."""
    levels = LEVELS[symbols]
    top = len(levels) - 1
    return "".join(levels[min(top, max(1, round(top * value / most)))] for value in values) if most else ""


def grid(marked: Marked, width: int, symbols: str) -> list[Line]:
    """A row a host, a cell a rank: the higher, the longer its own work takes, on a scale of all ranks."""
    works = {rank.place.rank: work for rank in marked.ranks if (work := own_work(rank)) is not None}
    hosts: dict[str, list[Rank]] = defaultdict(list)
    for rank in marked.ranks:
        hosts[rank.place.host].append(rank)
    label = min(16, max(len("host"), *(len(reveal_control(host)) for host in hosts)))
    room = max(8, width - label - 46)
    cells = min(room, max(CELLS, *(len(group) for group in hosts.values())))
    head = f"{'host':<{label}}  {'own work of each rank':<{cells}}  tokens/s  own work     memory"
    lines: list[Line] = [plain(head, "dim")]
    for host, group in hosts.items():
        drawn = [_cell(rank, marked, works, symbols) for rank in group[:cells]]
        drawn.append((" " * max(0, cells - len(drawn)), ""))
        name = f"{reveal_control(host)[:label]:<{label}}  "
        lines.append(((name, "dim"), *drawn, *_of_host(group, works)))
    return lines


def _cell(rank: Rank, marked: Marked, works: dict[int, float], symbols: str) -> Span:
    number, ascii_only = rank.place.rank, symbols == "ascii"
    role = marked.role(rank, "dim" if rank.phase in OVER else "good")
    if role == "bad":
        return ("x" if ascii_only else "✗", role)
    if number not in works:
        return ("." if ascii_only else "·", role)
    return (spark([works[number]], max(works.values()), symbols), role)


def _of_host(group: Sequence[Rank], works: dict[int, float]) -> list[Span]:
    speed = sum(rank.tokens_per_second or 0.0 for rank in group)
    own = [works[rank.place.rank] for rank in group if rank.place.rank in works]
    memory = [rank.memory for rank in group if rank.memory is not None]
    usual = seconds_words(median_low(own) if own else None)
    words = f"  {short_number(speed) if speed else '–':>8}  {usual:>8}"
    words += f"  {short_bytes(max(memory)) if memory else '–':>9}"
    return [(words, ""), (f"  {', '.join(sorted({rank.phase for rank in group}))}", "dim")]


def seconds_words(value: float | None) -> str:
    """A short time: 330 ms, 1.25 s."""
    if value is None:
        return "–"
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s"
