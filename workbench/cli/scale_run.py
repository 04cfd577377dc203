"""`workbench scale run | stop`: the queue of a study."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from workbench import units
from workbench.cli import parser as grammar
from workbench.cli.numbers import positive

if TYPE_CHECKING:
    from workbench.store.scaling_studies import Study

LIFE_SECONDS = 20.0
POLL_SECONDS = 0.5


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the commands to the grammar."""
    parser = grammar.add_command(
        commands,
        "run",
        run,
        help="have a study's runs done, one after the other, in the background",
        description="Have the runs of a planned study done, small ones first. The queue goes on by itself:\n"
        "Ctrl-C only stops watching. Killed or stopped, it is taken up again by the same command.",
        example="workbench scale run tiny-decoders\nworkbench scale run tiny-decoders --jobs 2 --detach",
    )
    parser.add_argument("study", metavar="STUDY", help="a planned study")
    parser.add_argument("--jobs", metavar="K", type=positive, default=1, help="runs at a time (1)")
    parser.add_argument("--detach", action="store_true", help="start it, and do not watch")
    grammar.add_json(parser)

    parser = grammar.add_command(
        commands,
        "stop",
        stop,
        help="let the running runs of a study write a checkpoint, and its queue stop",
        example="workbench scale stop tiny-decoders",
    )
    parser.add_argument("study", metavar="STUDY", help="a study whose queue runs")


def run(args: argparse.Namespace) -> int:
    """Handle `workbench scale run`."""
    from workbench.cli import render
    from workbench.cli.child import start_watched
    from workbench.errors import RunError
    from workbench.scaling.queue import progress, start_queue
    from workbench.store.scaling_studies import find_study

    study = find_study(args.study)
    study.plan()
    offset = study.log_path.stat().st_size if study.log_path.exists() else 0
    if study.queue().is_active:
        render.talk(f"the queue of {study.name} is running already; watching it")
        ended = None
    else:
        before = study.queue().updated if study.queue_path.exists() else 0.0
        ended = start_watched(lambda: start_queue(study, args.jobs))
        _wait_for_life(study, before, ended)
    if not args.detach:
        try:
            _follow(study, offset)
        except KeyboardInterrupt:
            render.talk(f"it goes on; watch it with: workbench scale run {study.name}")
            render.talk(f"          stop it with: workbench scale stop {study.name}")
            raise
    found = {"name": study.name, **progress(study)}
    if args.json:
        print(render.as_json(found))
    elif args.detach:
        print(study.name)
        render.talk(f"it goes on by itself; workbench scale show {study.name} says how far it is")
    else:
        print(_outcome(found))
    if not args.detach and (found["state"] != "finished" or found["counts"]["failed"]):
        raise RunError(
            f"the queue of “{study.name}” is {found['state']}, {found['counts']['failed']} runs failed",
            where=str(study.log_path),
            hint=f"workbench scale run {study.name} goes on, and tries those that failed again",
        )
    return 0


def _wait_for_life(study: Study, before: float, ended: Any) -> None:
    """Until the queue has said that it is there. Raises `RunError` where it ended before."""
    from workbench.errors import RunError

    deadline = time.monotonic() + LIFE_SECONDS
    while time.monotonic() < deadline:
        state = study.queue()
        if study.queue_path.exists() and state.updated > before:
            return
        if ended():
            # It may have been quick: what it said last is looked at once more.
            if study.queue_path.exists() and study.queue().updated > before:
                return
            break
        time.sleep(0.05)
    raise RunError(
        f"the queue of “{study.name}” did not start", where=str(study.log_path), hint="its log says why"
    )


def _follow(study: Study, offset: int) -> None:
    """Pass on what the queue says, with a line on how far it is, until it ends."""
    from workbench.cli import render
    from workbench.scaling.queue import progress

    live, shown = render.is_terminal(sys.stderr), False
    while True:
        active = study.queue().is_active
        try:
            with study.log_path.open("rb") as file:
                file.seek(offset)
                new = file.read()
        except FileNotFoundError:
            new = b""
        whole = new.rpartition(b"\n")[0]
        if whole:
            offset += len(whole) + 1
            print(f"{chr(13) + chr(27) + '[K' if shown else ''}", end="", file=sys.stderr)
            render.talk(render.literal(whole.decode(errors="replace"), keep_lines=True))
            shown = False
        if not active:
            return
        if live:
            text = render.clip(progress_words(progress(study)), render.columns() - 1)
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            shown = True
        time.sleep(POLL_SECONDS)


def progress_words(found: dict[str, Any]) -> str:
    """How far a study is, in a line."""
    from workbench.cli import render

    counts, total = found["counts"], sum(found["counts"].values())
    words = [
        f"{counts['done']} of {total} runs",
        f"{found['flops_done'] / found['flops']:.0%} of the compute",
    ]
    if found["seconds_left"]:
        words.append(f"about {units.duration(found['seconds_left'])} left")
    words += [f"{counts[name]} {name}" for name in ("failed", "stopped") if counts[name]]
    for one in found["running"]:
        loss = f", loss {render.number(one['loss'])}" if one["loss"] is not None else ""
        words.append(f"{render.literal(one['name'])} step {one['step']:,} of {one['steps']:,}{loss}")
    return " · ".join(words)


def _outcome(found: dict[str, Any]) -> str:
    from workbench.cli import render

    words = f"{render.literal(found['name'])}: {found['state']}, {progress_words(found)}"
    return words + (f"\n{render.literal(found['message'], keep_lines=True)}" if found["message"] else "")


def stop(args: argparse.Namespace) -> int:
    """Handle `workbench scale stop`."""
    from workbench.cli import render
    from workbench.scaling.queue import STOPPING_SECONDS, request_stop
    from workbench.store.scaling_studies import find_study

    study = find_study(args.study)
    request_stop(study)
    render.talk(f"the queue of {study.name} was asked to stop; its runs write a checkpoint first")
    deadline = time.monotonic() + STOPPING_SECONDS
    while study.queue().is_active and time.monotonic() < deadline:
        time.sleep(0.1)
    print(study.queue().seen_state())
    return 0
