"""The ranks of a run as lines: what needs looking at, all of them in rows, and the layout drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workbench.store.ranks import Rank
from workbench.store.stragglers import Straggler, Stuck, missing, own_work, silent, stragglers, stuck
from workbench.tui.text import reveal_control, short_number
from workbench.tui.train.ranks_table import Marked, grid, seconds_words, table
from workbench.tui.widgets.text_lines import Line, plain
from workbench.units import duration

FEW = 32
"""So many ranks have a row each; more share one with their host."""
NAMED = 4
"""So many of one trouble are named."""
PLAIN = str.maketrans({"×": "x", "·": "-", "–": "-", "⋮": ":", "…": "."})
ROLES = {"one": "key", "two": "good", "three": "warn", "key": "title"}
"""Roles of the drawing, in a pane."""


def ranks_lines(ranks: Sequence[Rank], width: int, symbols: str, *, active: bool, now: float) -> list[Line]:
    """Everything there is to say of the ranks of a run, what needs looking at first."""
    slow = stragglers(ranks) if active else []
    quiet = silent(ranks, active=active, now=now)
    failed = [rank for rank in ranks if rank.phase == "failed"]
    hung = None if quiet else stuck(ranks, active=active)
    bad = (*failed, *(rank for rank, _ in quiet), *(hung.behind if hung else ()))
    marked = Marked(
        ranks,
        frozenset(rank.place.rank for rank in bad),
        frozenset(straggler.rank.place.rank for straggler in slow),
    )
    told = [*_silent(quiet, len(ranks)), *_stuck(hung), *_failed(failed), *_slow(slow), *_missing(ranks)]
    if not told and active and len(ranks) > 1 and all(own_work(rank) is not None for rank in ranks):
        told = [plain("no rank is slower than its peers", "dim")]
    rows = table(marked, width, symbols) if len(ranks) <= FEW else grid(marked, width, symbols)
    lines = [_summary(ranks), *told, plain(""), *rows, *_layout(ranks, width)]
    if symbols == "ascii":
        return [tuple((text.translate(PLAIN), role) for text, role in line) for line in lines]
    return lines


def _summary(ranks: Sequence[Rank]) -> Line:
    hosts = len({rank.place.host for rank in ranks})
    axes = {name: size for name, size in ranks[0].place.axes.items() if size > 1}
    words = f"{len(ranks)} rank{'s' if len(ranks) > 1 else ''}" + (f" on {hosts} hosts" if hosts > 1 else "")
    # What ranks of tp, cp and pp work on are the same rows.
    sharing = axes.get("tp", 1) * axes.get("cp", 1) * axes.get("pp", 1)
    speed = sum(rank.tokens_per_second or 0.0 for rank in ranks) / sharing
    rest = [" × ".join(f"{name} {size}" for name, size in axes.items())] if axes else []
    rest.append(f"step {max(rank.step for rank in ranks)}")
    rest += [f"{short_number(speed)} tokens/s"] if speed else []
    return ((words, "title"), ("  " + " · ".join(rest), ""))


def _silent(quiet: Sequence[tuple[Rank, float]], ranks: int) -> Iterator[Line]:
    if len(quiet) == ranks > 1:
        since = duration(min(seconds for _, seconds in quiet))
        yield plain(f"none of the {ranks} ranks has been heard of for {since}", "bad")
        return
    for rank, seconds in quiet[:NAMED]:
        since = f"has not been heard of for {duration(seconds)}"
        yield plain(f"{_name(rank)} {since}; it was {rank.phase} at step {rank.step}", "bad")
    if len(quiet) > NAMED:
        yield plain(f"and {len(quiet) - NAMED} more are silent", "bad")


def _stuck(hung: Stuck | None) -> Iterator[Line]:
    if hung is None:
        return
    yield plain(f"no rank has got on with its step for {duration(hung.seconds)}", "bad")
    for rank in hung.behind[:NAMED]:
        yield plain(f"{_name(rank)} is behind, and the others wait for it; it is {rank.phase}", "bad")
    if len(hung.behind) > NAMED:
        yield plain(f"and {len(hung.behind) - NAMED} more are behind", "bad")


def _failed(failed: Sequence[Rank]) -> Iterator[Line]:
    for rank in failed[:NAMED]:
        yield plain(f"{_name(rank)} failed at step {rank.step}", "bad")


def _slow(slow: Sequence[Straggler]) -> Iterator[Line]:
    for one in slow[:NAMED]:
        own = f"{seconds_words(one.seconds)} of own work a step"
        usual = f"{one.factor:.2f} times the usual {seconds_words(one.usual)}"
        yield plain(f"{_name(one.rank)} holds the others up: {own}, {usual}", "warn")
    if len(slow) > NAMED:
        yield plain(f"and {len(slow) - NAMED} more are slow", "warn")


def _missing(ranks: Sequence[Rank]) -> Iterator[Line]:
    absent = missing(ranks)
    if absent:
        named = ", ".join(map(str, absent[:8])) + (" …" if len(absent) > 8 else "")
        yield plain(f"nothing is known of rank{'s' if len(absent) > 1 else ''} {named}", "warn")


def _name(rank: Rank) -> str:
    place = rank.place
    return f"rank {place.rank} ({reveal_control(place.host)}, {reveal_control(place.device)})"


def _layout(ranks: Sequence[Rank], width: int) -> list[Line]:
    """The layout drawn: hosts with the coordinates of their ranks."""
    from workbench.scaling.layouts.drawing import draw_devices
    from workbench.scaling.layouts.layout import Layout

    axes = ranks[0].place.axes
    layout = Layout.of_axes({name: size for name, size in axes.items() if size > 0})
    if layout.ranks == 1 or layout.ranks < len(ranks):
        return []
    per_node = max(rank.place.local_rank for rank in ranks) + 1
    drawn = draw_devices(layout, per_node, width)
    painted = [tuple((text, ROLES.get(role, role)) for text, role in line) for line in drawn]
    return [plain(""), plain("layout", "title"), *painted]
