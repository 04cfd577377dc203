"""`workbench rank generate`: the missing answers of a session are made."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from workbench.cli import parser as grammar
from workbench.errors import UsageError, WorkbenchError

if TYPE_CHECKING:
    from workbench.prompting.ranking.status import GenerationStatus
    from workbench.store.preferences.sessions import Session

POLL_SECONDS = 0.2
STOP_SECONDS = 20.0


def add_to(group: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the group `rank`."""
    parser = grammar.add_command(
        group,
        "generate",
        run_generate,
        help="make the answers that a session still lacks, and watch",
        description="Make the answers that a session still lacks, in the background, and watch that.\n"
        "Ctrl-C only stops watching. What failed is tried once more.",
        example="workbench rank generate round-1\nworkbench rank generate round-1 --stop",
    )
    parser.add_argument("session", metavar="SESSION")
    parser.add_argument("--detach", action="store_true", help="start it and do not watch")
    parser.add_argument("--stop", action="store_true", help="end it instead; what it made is kept")
    grammar.add_json(parser)


def run_generate(args: argparse.Namespace) -> int:
    """Handle `workbench rank generate`."""
    from workbench.cli import render
    from workbench.cli.rank_database import opened
    from workbench.prompting.ranking import control
    from workbench.store.preferences.sessions import find_session

    with opened() as database:
        session = find_session(database, args.session)
    if not session.settings.models:
        raise UsageError(
            f"the answers of “{session.name}” came from a file: there is nothing to generate",
            hint="workbench rank new begins a session of prompts and models",
        )
    if args.stop:
        control.stop_generating(session)
        status = control.wait_until_over(session, STOP_SECONDS)
    else:
        status = control.ensure_generating(session, again=True)
        if not args.detach:
            status = _watch(session)
    if args.json:
        told = {
            "state": status.state,
            "done": status.done,
            "total": status.total,
            "failures": status.failures,
        }
        print(render.as_json({**told, "message": status.message, "error": status.error}))
    else:
        print(render.literal(_line(status)))
    if status.state == "failed":
        raise _error_of(status)
    return 1 if status.state == "lost" else 0


def _watch(session: Session) -> GenerationStatus:
    """Follow the generator to its end; Ctrl-C leaves it going."""
    from workbench.cli import render
    from workbench.prompting.ranking.control import generation_status

    live, shown = render.is_terminal(sys.stderr), ""
    try:
        while (status := generation_status(session)).is_active:
            line = render.clip(render.literal(_line(status)), render.columns() - 1)
            if live and line != shown:
                print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
                shown = line
            time.sleep(POLL_SECONDS)
        return status
    except KeyboardInterrupt:
        return generation_status(session)
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _line(status: GenerationStatus) -> str:
    from workbench import units

    parts = [f"{status.state}: {status.done:,} of {status.total:,} answers"]
    if status.failures:
        parts.append(f"{status.failures:,} failed")
    if status.is_active and status.answers_per_second:
        parts.append(f"{status.answers_per_second:.2f} a second, {units.duration(status.seconds_left)} to go")
    if status.message and status.state != "failed":
        parts.append(status.message)
    return ", ".join(parts)


def _error_of(status: GenerationStatus) -> WorkbenchError:
    told = status.error or {"message": status.message, "where": "", "hint": "", "title": "Error"}
    error = WorkbenchError(told["message"], where=told["where"], hint=told["hint"])
    error.title = told["title"]
    return error
