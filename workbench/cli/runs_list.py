"""`workbench runs list`: all runs, newest first."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from workbench import units
from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.store.runs import Run
    from workbench.store.status import Status

STATES = (
    "queued",
    "starting",
    "preparing",
    "running",
    "saving",
    "stopping",
    "finished",
    "stopped",
    "failed",
    "lost",
    "unknown",
)
HEADERS = ("name", "state", "objective", "step", "loss", "eval", "tokens/s", "ETA", "age")
RIGHT = (3, 4, 5, 6, 7, 8)
# Columns given up, in this order, where the terminal is too narrow for all.
SPARE = ("objective", "tokens/s", "age")


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "list",
        run,
        help="list the runs, newest first",
        example="workbench runs list\nworkbench runs list --state running --json",
    )
    parser.add_argument("--state", choices=STATES, metavar="STATE", help=f"only these: {', '.join(STATES)}")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench runs list`."""
    from workbench.cli import render
    from workbench.cli.summary import as_dict
    from workbench.store.runs import list_runs

    found = [(item, item.status()) for item in list_runs()]
    if args.state:
        found = [(item, status) for item, status in found if status.seen_state() == args.state]
    if args.json:
        print(render.as_json([as_dict(item, status) for item, status in found]))
    elif found:
        print(_table([_row(item, status) for item, status in found]))
    else:
        render.talk(
            f"no run is {args.state}" if args.state else "no runs yet; workbench quickstart makes one"
        )
    return 0


def _row(run: Run, status: Status) -> dict[str, str]:
    from workbench.cli import render

    running = status.seen_state() == "running"
    steps = f"{status.step:,}/{status.max_steps:,}" if status.max_steps else f"{status.step:,}"
    values = (
        render.literal(run.name),
        render.literal(status.seen_state()),
        render.literal(status.objective),
        steps,
        render.number(status.loss),
        render.number(status.eval_loss),
        render.count(status.tokens_per_second),
        units.duration(status.eta_seconds) if running else units.NONE,
        units.duration(time.time() - status.created) if status.created else units.NONE,
    )
    return dict(zip(HEADERS, values, strict=True))


def _table(rows: list[dict[str, str]]) -> str:
    from workbench.cli import render

    headers = list(HEADERS)
    spare = list(SPARE)
    while spare and render.is_terminal(sys.stdout) and _width(headers, rows) > render.columns():
        headers.remove(spare.pop(0))
    right = [position for position, name in enumerate(headers) if HEADERS.index(name) in RIGHT]
    return render.table(headers, [[row[name] for name in headers] for row in rows], right)


def _width(headers: list[str], rows: list[dict[str, str]]) -> int:
    from workbench.cli import render

    widths = [max(render.cells(text) for text in (name, *(row[name] for row in rows))) for name in headers]
    return sum(widths) + 2 * (len(widths) - 1)
