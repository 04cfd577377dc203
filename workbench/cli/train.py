"""`workbench train`: make a run from a recipe, start it, and follow it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.cli.follow import Follower
    from workbench.store.runs import Run
    from workbench.store.status import Status

EXAMPLE = """workbench train nano
workbench train nano training.max_steps=300 training.learning_rate=1e-3
workbench train recipe.yaml data.sources=corpus/*.txt --name first --detach"""

LIFE_SECONDS = 60.0


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "train",
        run,
        help="train a model from a recipe",
        description="Train a model from a recipe. The run goes on by itself: Ctrl-C only stops watching it.",
        example=EXAMPLE,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a preset's name, or a recipe file ending in .yaml")
    add_overrides(parser)
    parser.add_argument("--name", metavar="NAME", help="name of the run; made from the recipe's otherwise")
    add_follow_options(parser)
    grammar.add_json(parser)


def add_overrides(parser: grammar.Parser) -> None:
    """`key.path=value …`, which may stand before and behind options."""
    parser.add_argument(
        "overrides", metavar="key.path=value", nargs="*", default=[], help="change the recipe"
    )
    parser.set_defaults(**{grammar.REST: "overrides"})


def add_follow_options(parser: grammar.Parser) -> None:
    """How a run that was started is watched."""
    parser.add_argument("--detach", action="store_true", help="print the run's name and do not wait for it")
    parser.add_argument("--samples", action="store_true", help="print what the model writes as training goes")


def run(args: argparse.Namespace) -> int:
    """Handle `workbench train`."""
    new = make(args.recipe, args.overrides, stem=stem_of(args.recipe), name=args.name)
    return start_and_follow(new, args)


def make(recipe: str, overrides: list[str], *, stem: str, name: str | None = None) -> Run:
    """A new run folder for a recipe with overrides."""
    import json

    from workbench.recipe import load
    from workbench.store.runs import create_run

    if name is not None:
        overrides = [*overrides, f"run.name={json.dumps(name)}"]
    return create_run(load(recipe, overrides), stem)


def stem_of(recipe: str) -> str:
    """The start of a run's name, from the name or file of its recipe."""
    import re
    from pathlib import Path

    stem = Path(recipe).name.removesuffix(".yaml").removesuffix(".yml")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:80] or "run"


def start_and_follow(run: Run, args: argparse.Namespace) -> int:
    """Start a run's worker; then name the run and leave it (`--detach`), or follow it to its end."""
    from workbench.cli import render
    from workbench.cli.follow import failure, outcome
    from workbench.cli.summary import as_dict

    follower = start(run, samples=args.samples)
    if args.detach:
        status = follower.wait_for_life(LIFE_SECONDS)
    else:
        render.talk(f"run {run.name} in {run.path}")
        status = attend(follower)
    if args.json:
        print(render.as_json(as_dict(run)))
    if not args.detach:
        code = outcome(run, status)
        if not args.json:
            print(run.final_path if status.state == "finished" else run.path)
        return code
    if status.state in ("failed", "lost"):
        raise failure(run, status)
    if not args.json:
        print(run.name)
    render.talk(f"it goes on by itself; watch it with: workbench runs follow {run.name}")
    return 0


def start(run: Run, *, samples: bool = False) -> Follower:
    """Start a run's worker, with a follower that tells all it does on standard error."""
    from workbench.cli.child import start_watched
    from workbench.cli.follow import Follower
    from workbench.store import launch

    follower = Follower(run, sys.stderr, samples=samples)
    follower.has_ended = start_watched(lambda: launch.start(run))
    return follower


def attend(follower: Follower) -> Status:
    """Follow a run to its end; Ctrl-C leaves it going and says so."""
    from workbench.cli import render

    try:
        return follower.follow()
    except KeyboardInterrupt:
        name = follower.run.name
        render.talk(f"“{name}” goes on; watch it with: workbench runs follow {name}")
        render.talk(f"{' ' * len(name)}    stop it with: workbench runs stop {name}")
        raise
