"""`workbench rank …`: the group, and what reads, writes, lists and deletes sessions of ranking."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from workbench.cli import parser as grammar
from workbench.cli import rank_figures, rank_generate, rank_new
from workbench.errors import UsageError

WRITTEN = ("rankings", "pairs", "argilla", "arena")
READ = (*WRITTEN, "completions")
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
        help="read rankings, preference pairs, what Argilla and Arena wrote, or answers to be ranked",
        description="Read a JSONL file into a session. What it is follows from its columns: preferences of\n"
        "any kind, or completions that nobody ranked yet, one a line (prompt, completion, model): those of\n"
        "one prompt are ranked together. The same file twice adds nothing.",
        example="workbench rank import votes.jsonl --session round-1\nworkbench rank import answers.jsonl",
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--session", metavar="NAME", help="the session it is added to (the file's name)")
    parser.add_argument("--format", choices=READ, help="what it is, where that is not to be found out")
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
    parser.add_argument("--format", choices=WRITTEN, default="rankings", help="(%(default)s)")
    parser.add_argument("--output", metavar="FILE", help="standard output otherwise")
    parser.add_argument("--margins", action="store_true", help="pairs: with the difference of the ranks")
    parser.add_argument("--undecided", action="store_true", help="rankings: also what nobody decided yet")
    parser = grammar.add_command(
        group, "list", run_list, help="list the sessions there are", example="workbench rank list"
    )
    grammar.add_json(parser)
    parser = grammar.add_command(
        group,
        "delete",
        run_delete,
        help="delete sessions with all that was decided in them",
        example="workbench rank delete round-1",
    )
    parser.add_argument("sessions", metavar="SESSION", nargs="+")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.set_defaults(**{grammar.REST: "sessions"})
    rank_figures.add_to(group)


def run_import(args: argparse.Namespace) -> int:
    """Handle `workbench rank import`."""
    from workbench.cli import render
    from workbench.cli.rank_database import opened
    from workbench.store.preferences.exchange.importing import import_file

    path = Path(args.file).expanduser()
    with opened() as database:
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
    from workbench.cli.rank_database import opened
    from workbench.store.preferences.exchange.exporting import export
    from workbench.store.preferences.exchange.records import line_of, write_records
    from workbench.store.preferences.judgements import decided
    from workbench.store.preferences.sessions import find_session

    with opened() as database:
        session = find_session(database, args.session)
        found = decided(database, session, undecided=args.undecided and args.format == "rankings")
    made = export(found, session, args.format, margins=args.margins)
    if made.left_out:
        render.talk(made.left_out)
    if args.output is None:
        sys.stdout.writelines(line_of(record).decode() for record in made.records)
    else:
        count = write_records(Path(args.output).expanduser(), made.records)
        render.talk(f"{count:,} records in {args.output}")
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Handle `workbench rank list`."""
    from workbench.cli import render
    from workbench.cli.rank_database import opened
    from workbench.prompting.ranking.control import generation_status
    from workbench.store.preferences.sessions import counts, list_sessions

    with opened() as database:
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


def run_delete(args: argparse.Namespace) -> int:
    """Handle `workbench rank delete`: all the sessions named, or none."""
    from workbench.cli import render
    from workbench.cli.rank_database import opened
    from workbench.prompting.ranking.delete import delete
    from workbench.store.preferences.sessions import counts, find_session

    with opened() as database:
        found = [find_session(database, name) for name in dict.fromkeys(args.sessions)]
        if not args.yes:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise UsageError(
                    "deleting sessions needs a yes, and there is no terminal to ask", hint="add --yes"
                )
            made = sum(sum(counts(database, session).decisions.values()) for session in found)
            names = ", ".join(session.name for session in found)
            sys.stderr.write(f"delete {names}, with {made:,} decisions? There is no way back. [y/N] ")
            sys.stderr.flush()
            if sys.stdin.readline().strip().lower() not in ("y", "yes"):
                render.talk("nothing was deleted")
                return 1
        for session in found:
            delete(database, session)
            print(session.name)
    return 0
