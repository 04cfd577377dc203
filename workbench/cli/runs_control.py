"""`workbench runs follow | stop | resume`: steering one run."""

from __future__ import annotations

import argparse
import sys

from workbench import units
from workbench.cli import parser as grammar

KILL_SECONDS = 10.0


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the three commands to the grammar."""
    from workbench.cli.train import add_follow_options

    parser = grammar.add_command(
        commands,
        "follow",
        follow,
        help="say what a run did so far, then watch it until it ends",
        example="workbench runs follow nano-1",
    )
    parser.add_argument("run", metavar="RUN", help="a run's name, or the path of its folder")
    parser.add_argument("--samples", action="store_true", help="print what the model writes as training goes")

    parser = grammar.add_command(
        commands,
        "stop",
        stop,
        help="let a run write a checkpoint and stop",
        example="workbench runs stop nano-1 --wait 60\nworkbench runs stop nano-1 --force",
    )
    parser.add_argument("run", metavar="RUN", help="a run's name, or the path of its folder")
    parser.add_argument("--wait", metavar="SECONDS", type=seconds, help="wait so long for it to stop")
    parser.add_argument(
        "--force", action="store_true", help="kill it, at once or after --wait; only old checkpoints stay"
    )

    parser = grammar.add_command(
        commands,
        "resume",
        resume,
        help="go on with a stopped, failed or lost run from its last checkpoint",
        example="workbench runs resume nano-1\nworkbench runs resume nano-1 --detach",
    )
    parser.add_argument("run", metavar="RUN", help="a run's name, or the path of its folder")
    add_follow_options(parser)
    grammar.add_json(parser)


def seconds(text: str) -> float:
    """A waiting time in seconds, not negative."""
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError(text)
    return value


def follow(args: argparse.Namespace) -> int:
    """Handle `workbench runs follow`."""
    from workbench.cli import render
    from workbench.cli.follow import Follower, outcome, progress_line
    from workbench.errors import RunError
    from workbench.store.runs import find_run

    run = find_run(args.run)
    status = run.status()
    if status.state == "queued":
        raise RunError(
            f"“{run.name}” has not been started",
            where=str(run.path),
            hint=f"workbench runs resume {run.name} starts it",
        )
    if status.step:
        age = units.duration(_since(status.started))
        print(f"so far, in {age}: {progress_line(status)}", flush=True)
    try:
        status = Follower(run, sys.stdout, samples=args.samples).follow()
    except KeyboardInterrupt:
        if run.status().is_active:
            render.talk(f"“{run.name}” goes on; stop it with: workbench runs stop {run.name}")
        raise
    return outcome(run, status)


def _since(moment: float | None) -> float | None:
    import time

    return None if moment is None else time.time() - moment


def stop(args: argparse.Namespace) -> int:
    """Handle `workbench runs stop`."""
    from workbench.cli import render
    from workbench.errors import RunError
    from workbench.store import launch
    from workbench.store.runs import find_run

    run = find_run(args.run)
    if not args.force or args.wait:
        launch.request_stop(run)
        if args.wait is None:
            render.talk(f"“{run.name}” was asked to stop; it writes a checkpoint first")
            return 0
        render.talk(f"“{run.name}” was asked to stop; waiting up to {units.duration(args.wait)}")
        launch.wait(run, args.wait)
    if args.force and run.status().is_active:
        launch.kill(run)
        launch.wait(run, KILL_SECONDS)
    status = run.status()
    if status.is_active:
        raise RunError(
            f"“{run.name}” has not stopped yet (it is {status.seen_state()})",
            where=str(run.path),
            hint=f"wait longer, or kill it with: workbench runs stop {run.name} --force",
        )
    print(status.seen_state())
    return 0


def resume(args: argparse.Namespace) -> int:
    """Handle `workbench runs resume`."""
    from workbench.cli import render
    from workbench.cli.train import start_and_follow
    from workbench.store.runs import find_run

    run = find_run(args.run)
    checkpoints = run.checkpoints()
    origin = checkpoints[-1].name if checkpoints else "the beginning: there is no checkpoint"
    if not run.status().is_active and run.status().state != "finished":
        render.talk(f"“{run.name}” goes on from {origin}")
    return start_and_follow(run, args)
