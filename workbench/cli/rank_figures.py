"""`workbench rank stats` and `leaderboard`: what the rankings of a session amount to."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.store.preferences.statistics.bootstrap import Interval

METHODS = ("bradley-terry", "plackett-luce")


def add_to(group: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the commands to the group `rank`."""
    parser = grammar.add_command(
        group,
        "stats",
        run_stats,
        help="how annotators agree with each other and themselves, and which side wins",
        example="workbench rank stats round-1",
    )
    parser.add_argument("session", metavar="SESSION")
    grammar.add_json(parser)
    parser = grammar.add_command(
        group,
        "leaderboard",
        run_leaderboard,
        help="how strong each model is, with intervals",
        example="workbench rank leaderboard round-1 --method plackett-luce",
    )
    parser.add_argument("session", metavar="SESSION")
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help="(%(default)s)")
    grammar.add_json(parser)


def run_stats(args: argparse.Namespace) -> int:
    """Handle `workbench rank stats`."""
    from workbench.cli import render
    from workbench.cli.rank_database import opened
    from workbench.store.preferences.judgements import judgements
    from workbench.store.preferences.sessions import find_session
    from workbench.store.preferences.statistics.agreement import agreement
    from workbench.store.preferences.statistics.consistency import position_bias, self_agreement

    with opened() as database:
        made = judgements(database, find_session(database, args.session))
    between, within, sides = agreement(made), self_agreement(made), position_bias(made)
    if args.json:
        told = {"judgements": len(made), "agreement": asdict(between)}
        told |= {
            "self_agreement": [asdict(one) for one in within],
            "position": [asdict(one) for one in sides],
        }
        print(render.as_json(told))
        return 0
    lines = [f"{len(made):,} judgements"]
    lines.append(f"agreement of {between.annotators} annotators on {between.items:,} sets of answers")
    lines.append(f"  Krippendorff's α of ranks   {_told(between.ranks)}")
    lines.append(f"  Krippendorff's α of pairs   {_told(between.pairs)}")
    for one in within:
        lines.append(
            f"{one.annotator} with themselves: {_told(one.same, percent=True)} of {one.items:,} the same, "
            f"{one.pairs:.1%} of pairs"
        )
    for bias in sides:
        wins = ", ".join(f"{win.value:.1%}" for win in bias.wins)
        lines.append(
            f"{bias.answers} answers: wins from left to right {wins}; without bias {bias.expected:.1%} each "
            f"({bias.items:,} sets, p = {bias.p_value:.3g})"
        )
    print(render.literal("\n".join(lines), keep_lines=True))
    return 0


def run_leaderboard(args: argparse.Namespace) -> int:
    """Handle `workbench rank leaderboard`."""
    from workbench.cli import render
    from workbench.cli.rank_database import opened
    from workbench.store.preferences.judgements import judgements
    from workbench.store.preferences.sessions import find_session
    from workbench.store.preferences.statistics.leaderboard import leaderboard

    with opened() as database:
        made = judgements(database, find_session(database, args.session))
    board = leaderboard(made, args.method)
    if args.json:
        print(render.as_json(asdict(board)))
        return 0
    lines = [f"{board.method} over {board.judgements:,} judgements of {board.items:,} sets of answers"]
    width = max((len(one.model) for one in board.standings), default=0)
    for one in board.standings:
        lines.append(
            f"  {one.model:<{width}}  {one.elo.value:6.0f}  [{one.elo.low:.0f}, {one.elo.high:.0f}]  "
            f"won {one.wins:,}, lost {one.losses:,}, tied {one.ties:,}"
        )
    print(render.literal("\n".join(lines), keep_lines=True))
    for notice in board.notices:
        render.talk(notice)
    return 0


def _told(interval: Interval | None, *, percent: bool = False) -> str:
    if interval is None:
        return "not defined: nothing that two annotators judged varies"
    form = ".1%" if percent else ".3f"
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"
