"""`workbench rank …`: rankings of answers, read, written, and reckoned with."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar
from workbench.cli import rank_generate, rank_new

if TYPE_CHECKING:
    from workbench.store.preferences.database import Database
    from workbench.store.preferences.statistics.bootstrap import Interval

FORMATS = ("rankings", "pairs", "argilla", "arena")
METHODS = ("bradley-terry", "plackett-luce")
EXAMPLE = """workbench rank new round-1 --prompts prompts.jsonl --model SmolLM2-135M-Instruct --model my-run
workbench rank import votes.jsonl
workbench rank leaderboard votes
workbench rank export votes --format pairs > pairs.jsonl"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    group = grammar.add_group(
        commands, "rank", help="rankings of answers: what was preferred", example=EXAMPLE
    )
    rank_new.add_to(group)
    rank_generate.add_to(group)
    parser = grammar.add_command(
        group,
        "import",
        run_import,
        help="read rankings, preference pairs, or what Argilla and Arena wrote",
        description="Read a JSONL file of preferences into a session. What it is follows from its columns.\n"
        "The same file twice adds nothing.",
        example="workbench rank import votes.jsonl --session round-1",
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--session", metavar="NAME", help="the session it is added to (the file's name)")
    parser.add_argument("--format", choices=FORMATS, help="what it is, where that is not to be found out")
    parser.add_argument("--question", metavar="NAME", help="Argilla: which of several questions")
    grammar.add_json(parser)
    parser = grammar.add_command(
        group,
        "export",
        run_export,
        help="write rankings, or pairs for TRL, Argilla and Arena",
        description="Write what was decided in a session as JSON lines: rankings lose nothing and come back\n"
        "by `workbench rank import`; pairs (prompt, chosen, rejected) are all that were not tied.",
        example="workbench rank export round-1 --format pairs --output pairs.jsonl",
    )
    parser.add_argument("session", metavar="SESSION")
    parser.add_argument("--format", choices=FORMATS, default="rankings", help="(%(default)s)")
    parser.add_argument("--output", metavar="FILE", help="standard output otherwise")
    parser.add_argument("--margins", action="store_true", help="pairs: with the difference of the ranks")
    parser.add_argument("--undecided", action="store_true", help="rankings: also what nobody decided yet")
    parser = grammar.add_command(
        group, "list", run_list, help="list the sessions there are", example="workbench rank list"
    )
    grammar.add_json(parser)
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


@contextmanager
def _opened() -> Iterator[Database]:
    from workbench.cli import render
    from workbench.store.preferences.database import Database

    database = Database()
    try:
        if database.notice:
            render.talk(database.notice)
        yield database
    finally:
        database.close()


def run_import(args: argparse.Namespace) -> int:
    """Handle `workbench rank import`."""
    from workbench.cli import render
    from workbench.store.preferences.exchange.importing import import_file

    path = Path(args.file)
    with _opened() as database:
        found = import_file(database, path, session=args.session, format=args.format, question=args.question)
    told = {
        "session": found.session.name,
        "records": found.records,
        "decisions": found.decisions,
        "items": found.items,
    }
    if args.json:
        print(render.as_json(told))
        return 0
    print(
        f"{found.records:,} records: {found.decisions:,} decisions and {found.items:,} sets of answers added "
        f"to {found.session.name}"
    )
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Handle `workbench rank export`."""
    from workbench.cli import render
    from workbench.store.preferences.exchange.arena import export_arena
    from workbench.store.preferences.exchange.argilla import export_argilla
    from workbench.store.preferences.exchange.pairs import export_pairs
    from workbench.store.preferences.exchange.rankings import export_rankings
    from workbench.store.preferences.judgements import decided
    from workbench.store.preferences.sessions import find_session

    with _opened() as database:
        session = find_session(database, args.session)
        found = decided(database, session, undecided=args.undecided and args.format == "rankings")
    records: list[dict[str, Any]]
    if args.format == "pairs":
        pairs = export_pairs(found, margins=args.margins)
        records = pairs.records
        if pairs.tied or pairs.identical:
            render.talk(
                f"left out: {pairs.tied:,} tied pairs, {pairs.identical:,} of answers that are the same"
            )
    else:
        write = {"arena": export_arena, "argilla": export_argilla}
        records = list(
            export_rankings(found, session) if args.format == "rankings" else write[args.format](found)
        )
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    if args.output is None:
        sys.stdout.write(lines)
    else:
        _write(Path(args.output), lines)
        render.talk(f"{len(records):,} records in {args.output}")
    return 0


def _write(path: Path, text: str) -> None:
    from workbench.errors import storage_error

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise storage_error(error, path) from None


def run_list(args: argparse.Namespace) -> int:
    """Handle `workbench rank list`."""
    from workbench.cli import render
    from workbench.prompting.ranking.control import generation_status
    from workbench.store.preferences.sessions import counts, list_sessions

    with _opened() as database:
        told = [
            {
                "name": session.name,
                "created": session.created,
                **asdict(counts(database, session)),
                "generation": generation_status(session).state,
            }
            for session in list_sessions(database)
        ]
    if args.json:
        print(render.as_json(told))
        return 0
    if not told:
        render.talk("no sessions yet: workbench rank new, or workbench rank import FILE")
    for one in told:
        people = ", ".join(f"{name} {number:,}" for name, number in one["decisions"].items() if number)
        sizes = f"{one['prompts']:,} prompts, {one['answers']:,} answers in {one['items']:,} sets"
        state = "" if one["generation"] in ("idle", "finished") else f" (generation {one['generation']})"
        print(render.literal(f"{one['name']}  {sizes}{state}; decisions: {people or 'none'}"))
    return 0


def run_stats(args: argparse.Namespace) -> int:
    """Handle `workbench rank stats`."""
    from workbench.cli import render
    from workbench.store.preferences.judgements import judgements
    from workbench.store.preferences.sessions import find_session
    from workbench.store.preferences.statistics.agreement import agreement
    from workbench.store.preferences.statistics.consistency import position_bias, self_agreement

    with _opened() as database:
        made = judgements(database, find_session(database, args.session))
    between, within, sides = agreement(made), self_agreement(made), position_bias(made)
    if args.json:
        told = {"judgements": len(made), "agreement": asdict(between)}
        told |= {
            "self_agreement": [asdict(one) for one in within],
            "position": [asdict(one) for one in sides],
        }
        print(render.as_json(_finite(told)))
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
    from workbench.store.preferences.judgements import judgements
    from workbench.store.preferences.sessions import find_session
    from workbench.store.preferences.statistics.leaderboard import leaderboard

    with _opened() as database:
        made = judgements(database, find_session(database, args.session))
    board = leaderboard(made, args.method)
    if args.json:
        print(render.as_json(_finite(asdict(board))))
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


def _finite(value: Any) -> Any:
    """The same with null for what is no number, which JSON has no word for."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
