"""`workbench runs rm`: delete run folders."""

from __future__ import annotations

import argparse
import sys

from workbench.cli import parser as grammar


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "rm",
        run,
        help="delete runs with all their checkpoints",
        example="workbench runs rm nano-1 nano-2\nworkbench runs rm nano-1 --yes",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="names, or paths of run folders")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.set_defaults(**{grammar.REST: "runs"})


def run(args: argparse.Namespace) -> int:
    """Handle `workbench runs rm`: all the runs named, or none."""
    from workbench.cli import render
    from workbench.errors import RunError, UsageError
    from workbench.store.runs import delete_run, find_run

    found = list({item.path: item for item in map(find_run, args.runs)}.values())
    for item in found:
        if item.status().is_active:
            raise RunError(
                f"“{item.name}” is still running; nothing was deleted",
                where=str(item.path),
                hint=f"workbench runs stop {item.name} --wait 60",
            )
    if not args.yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError("deleting runs needs a yes, and there is no terminal to ask", hint="add --yes")
        names = ", ".join(item.name for item in found)
        total = render.size(sum(item.size() for item in found))
        sys.stderr.write(f"delete {names} ({total})? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            render.talk("nothing was deleted")
            return 1
    for item in found:
        delete_run(item)
        print(item.name)
    return 0
