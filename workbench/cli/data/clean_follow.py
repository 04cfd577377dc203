"""Watching a cleaning until it ends: a live line on a terminal, a line for each stage elsewhere."""

from __future__ import annotations

import argparse
import sys
import time

from workbench.cli import render
from workbench.store.cleaning import Cleaning
from workbench.store.cleaning_steps import StepCounts, StepReader
from workbench.store.status import FINAL_STATES, LOST, Status

POLL_SECONDS = 0.3
CONFIRM_SECONDS = 1.0


def follow(cleaning: Cleaning, args: argparse.Namespace) -> int:
    """Tell of a cleaning on standard error until it ends, then its counts on standard output.

    Ctrl-C stops watching, not the cleaning. Raises the error that it ended with.
    """
    from workbench.cli.data import clean_text
    from workbench.store.inspector import error_of

    try:
        status = _watch(cleaning)
    except KeyboardInterrupt:
        render.talk(f"\n{cleaning.name} goes on; the same command watches it again, --stop ends it")
        raise
    if status.error is not None:
        raise error_of({"class": status.error["title"] + "Error", **status.error})
    if status.seen_state() != "finished":
        render.talk(f"{cleaning.name} is {status.seen_state()}; the same command goes on")
        return 1
    if args.json:
        print(
            render.as_json(
                {"name": cleaning.name, "result": str(cleaning.result_path()), **cleaning.report()}
            )
        )
        return 0
    print(clean_text.steps_table(StepReader(cleaning).read()))
    render.talk("the card and the records:")
    print(cleaning.result_path())
    return 0


def _watch(cleaning: Cleaning) -> Status:
    reader, live = StepReader(cleaning), render.is_terminal(sys.stderr)
    last, lost_since = "", 0.0
    while True:
        status = cleaning.status()
        state = status.seen_state()
        if state in FINAL_STATES:
            break
        if state == LOST:
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since > CONFIRM_SECONDS:
                break
        text = status.message if not live else progress_line(status, reader.read())
        if text != last:
            _say(text, live)
            last = text
        time.sleep(POLL_SECONDS)
    if live:
        sys.stderr.write("\r\x1b[K")
    return status


def _say(text: str, live: bool) -> None:
    if not live:
        render.talk(render.literal(text))
        return
    sys.stderr.write("\r\x1b[K" + render.clip(render.literal(text), render.columns() - 1))
    sys.stderr.flush()


def progress_line(status: Status, steps: list[StepCounts]) -> str:
    """Where it is: the stage, and the records that the last step at work has seen."""
    progress = status.progress or {}
    where = f"stage {progress.get('done', 0) + 1} of {progress['total']}" if progress.get("total") else ""
    working = [step for step in steps if step.came]
    counts = ""
    if working:
        step = working[-1]
        dropped = sum(step.counts["dropped"] for step in working)
        counts = f"{step.name} {step.came:,} in, {step.left:,} left; dropped so far {dropped:,}"
    return "  ".join(part for part in (where, status.message, counts) if part)
