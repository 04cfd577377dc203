"""`workbench runs events`: what went wrong in a run, why, and what was done about it."""

from __future__ import annotations

import argparse
import math
import textwrap
import time
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.store.events import RunEvent

WIDTH = 100
NAMES = 6
"""Columns of the names of an explanation's parts."""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "events",
        run,
        help="what went wrong in a run, why, and what was done about it",
        description="Spikes, divergence, numbers that are none, rollbacks, changes of the loss scale: each "
        "with what happened, why that probably is, what was done and what to try.",
        example="workbench runs events nano-1\n"
        "workbench runs events nano-1 --rows       the rows that were left out, and where they come from\n"
        "workbench runs events nano-1 --json",
    )
    parser.add_argument("run", metavar="RUN", help="a run's name, or the path of its folder")
    parser.add_argument(
        "--alarms", action="store_true", help="alarms only, without what is merely worth knowing"
    )
    parser.add_argument("--rows", action="store_true", help="list the rows that were left out")
    parser.add_argument(
        "--steps", action="store_true", help="losses and gradients of the steps before each alarm"
    )
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench runs events`."""
    from workbench.cli import render
    from workbench.store.events import read_events
    from workbench.store.runs import find_run

    found = find_run(args.run)
    events = [event for event in read_events(found.events_path) if event.is_alarm or not args.alarms]
    if args.json:
        print(render.as_json({"run": found.name, "events": [event.as_dict() for event in events]}))
        return 0
    if not events:
        what = "alarm" if args.alarms else "event"
        render.talk(f"“{found.name}” has no {what}: nothing went wrong that was noticed")
        return 0
    print("\n\n".join(paragraph(event, rows=args.rows, steps=args.steps) for event in events))
    return 0


def paragraph(event: RunEvent, *, rows: bool = False, steps: bool = False) -> str:
    """One event for a person. Its words come from a file, and are shown as they are."""
    from workbench.cli import render

    when = time.strftime("  %Y-%m-%d %H:%M:%S", time.localtime(event.time)) if event.time else ""
    back = f", back to step {event.to_step:,}" if event.to_step is not None else ""
    head = render.literal(f"step {event.step:,}: {event.title}{back}{when}")
    lines = [render.style(head, "red" if event.is_alarm else "bold")]
    width = min(render.columns(), WIDTH) - 2
    for name, text in event.texts:
        indent = " " * (NAMES + 2)
        lines += textwrap.wrap(
            f"{name:<{NAMES}}{render.literal(text)}", width, initial_indent="  ", subsequent_indent=indent
        )
    if steps:
        lines += [f"  {line}" for line in step_lines(event)]
    if rows:
        lines += [f"  {line}" for line in row_lines(event)]
    return "\n".join(lines)


def step_lines(event: RunEvent) -> list[str]:
    """The steps before an event: loss and gradient of each."""
    from workbench.cli import render

    steps = event.numbers.get("steps")
    if not isinstance(steps, list):
        return []
    table = [
        [str(entry.get("step", "")), _number(entry.get("loss")), _number(entry.get("grad_norm"))]
        for entry in steps
        if isinstance(entry, dict)
    ]
    return render.table(["step", "loss", "grad_norm"], table, right=(0, 1, 2)).splitlines() if table else []


def row_lines(event: RunEvent) -> list[str]:
    """The rows that an event left out: number, epoch, documents or records, sources, how they begin."""
    from workbench.cli import render

    rows = event.rows or {}
    listed = rows.get("rows")
    if not isinstance(listed, list):
        return []
    lines = []
    for row in (row for row in listed if isinstance(row, dict)):
        parts = [f"row {row.get('row', '?')}"]
        for name in ("epoch", "documents", "records", "sources"):
            value = row.get(name)
            if value is not None:
                shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                parts.append(f"{name.rstrip('s') if not isinstance(value, list) else name} {shown}")
        lines.append(render.literal("  ".join(parts)))
        if row.get("begins"):
            lines.append(render.clip(f"    {render.literal(str(row['begins']))}", render.columns() - 2))
    first, end = rows.get("first"), rows.get("end")
    if isinstance(first, int) and isinstance(end, int) and end - first > len(listed):
        lines.append(f"… and {end - first - len(listed):,} more, up to row {end - 1:,}")
    if rows.get("unreadable"):
        lines.append(render.literal(f"they could not be read: {rows['unreadable']}"))
    return lines


def _number(value: Any) -> str:
    from workbench.cli import render

    return render.number(float(value)) if isinstance(value, int | float) and math.isfinite(value) else "–"
