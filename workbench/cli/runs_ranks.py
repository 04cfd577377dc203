"""`workbench runs ranks`: what each process of a run does, how fast it is, and who holds the others up."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench import units
from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.store.ranks import Rank
    from workbench.store.runs import Run

NAMED = 8
"""Ranks that are named as those which the others wait for."""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "ranks",
        run,
        help="each process of a run: where it stands, its speed, memory, and who holds the others up",
        example="workbench runs ranks big-1\nworkbench runs ranks big-1 --json",
    )
    parser.add_argument("run", metavar="RUN", help="a run's name, or the path of its folder")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench runs ranks`; a run that has not begun is a `RunError`."""
    from workbench.cli import render
    from workbench.errors import RunError
    from workbench.store.lone_rank import lone_rank
    from workbench.store.ranks import read_ranks
    from workbench.store.runs import find_run

    found = find_run(args.run)
    ranks = read_ranks(found.path)
    if not ranks:
        alone = lone_rank(found, found.status())
        ranks = (alone,) if alone else ()
    if not ranks:
        raise RunError(
            f"nothing is known of the ranks of “{found.name}”, which has not begun",
            where=str(found.path),
            hint=f"workbench runs resume {found.name} starts it",
        )
    facts = gather(found, ranks)
    print(render.as_json(facts) if args.json else page(facts))
    return 0


def gather(found: Run, ranks: Sequence[Rank]) -> dict[str, Any]:
    """All ranks as plain values; times in seconds, memory in bytes."""
    from dataclasses import asdict

    from workbench.store.stragglers import missing, own_work, silent, step_seconds, stragglers, stuck

    active = found.status().is_active
    quiet = silent(ranks, active=active)
    hung = None if quiet else stuck(ranks, active=active)
    return {
        "run": found.name,
        "active": active,
        "axes": ranks[0].place.axes,
        "ranks": [
            {
                **asdict(rank.place),
                "phase": rank.phase,
                "step": rank.step,
                "updated": rank.updated,
                "tokens": rank.tokens,
                "tokens_per_second": rank.tokens_per_second,
                "step_seconds": step_seconds(rank),
                "own_seconds": own_work(rank),
                "memory": rank.memory,
                "peak_memory": rank.peak_memory,
                "memory_limit": rank.memory_limit,
            }
            for rank in ranks
        ],
        "stragglers": [
            {
                "rank": straggler.rank.place.rank,
                "host": straggler.rank.place.host,
                "factor": straggler.factor,
                "own_seconds": straggler.seconds,
                "usual_seconds": straggler.usual,
            }
            for straggler in stragglers(ranks)
        ],
        "silent": [
            {"rank": rank.place.rank, "host": rank.place.host, "seconds": seconds, "phase": rank.phase}
            for rank, seconds in quiet
        ],
        "stuck": None
        if hung is None
        else {"seconds": hung.seconds, "behind": [rank.place.rank for rank in hung.behind]},
        "missing": missing(ranks),
    }


def page(facts: dict[str, Any]) -> str:
    """The ranks for a person."""
    from workbench.cli import render

    rows = [_row(rank, facts["axes"]) for rank in facts["ranks"]]
    heads = ["rank", "place", "host", "device", "doing", "step"]
    heads += ["tokens/s", "own work", "a step", "memory", "peak"]
    parts = [render.table(heads, rows, right=(0, 5, 6, 7, 8, 9, 10))]
    for one in facts["silent"]:
        words = f"rank {one['rank']} on {render.literal(one['host'])} has not been heard of for "
        words += f"{units.duration(one['seconds'])}; it was {render.literal(one['phase'])}"
        parts.append(render.style(words, "red"))
    if facts["stuck"]:
        words = f"no rank has got on with its step for {units.duration(facts['stuck']['seconds'])}"
        behind = facts["stuck"]["behind"]
        if behind:
            words += f"; the others wait for rank {', '.join(map(str, behind[:NAMED]))}"
        if len(behind) > NAMED:
            words += f" and {len(behind) - NAMED} more"
        parts.append(render.style(words, "red"))
    for one in facts["stragglers"]:
        words = f"rank {one['rank']} on {render.literal(one['host'])} holds the others up: its own work "
        words += f"takes {_seconds(one['own_seconds'])} a step, {one['factor']:.2f} times the usual "
        parts.append(render.style(words + _seconds(one["usual_seconds"]), "yellow"))
    if facts["missing"]:
        parts.append(f"nothing is known of ranks {', '.join(map(str, facts['missing']))}")
    return "\n".join(parts)


def _row(rank: dict[str, Any], axes: dict[str, int]) -> list[str]:
    from workbench.cli import render

    coordinates = rank["coordinates"].items()
    place = " ".join(f"{name} {number}" for name, number in coordinates if axes.get(name, 1) > 1)
    return [
        str(rank["rank"]),
        render.literal(place),
        render.literal(rank["host"]),
        render.literal(rank["device"]),
        render.literal(rank["phase"]),
        f"{rank['step']:,}",
        render.count(rank["tokens_per_second"]),
        _seconds(rank["own_seconds"]),
        _seconds(rank["step_seconds"]),
        units.NONE if rank["memory"] is None else render.size(rank["memory"]),
        units.NONE if rank["peak_memory"] is None else render.size(rank["peak_memory"]),
    ]


def _seconds(value: float | None) -> str:
    if value is None:
        return units.NONE
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s"
