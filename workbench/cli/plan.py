"""`workbench plan`: which layout fits a model on given devices, how fast it would be, and how it looks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli import parser as grammar
from workbench.cli.numbers import positive
from workbench.cli.train import add_overrides

if TYPE_CHECKING:
    from workbench.scaling.layouts import Found, Plan, Setting

EXAMPLE = """workbench plan models/llama3-70b --gpus 64 --gpu H100
workbench plan models/llama3-405b --gpus 1024 --layout tp=8,pp=16,shard=8 --global-batch 512
workbench plan my-recipe.yaml --gpus 16 --gpu A100-80GB --write planned.yaml
workbench plan gpt3-175b --gpus 512 --gpu A100 --stack megatron --json"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""

    parser = grammar.add_command(
        commands,
        "plan",
        run,
        help="which layout fits a model on given GPUs: memory, bubble, communication, speed; drawn",
        example=EXAMPLE,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a preset, a recipe file, a run, a folder with a config.json, or a published model (--list)",
    )
    add_overrides(parser)
    parser.add_argument("--list", action="store_true", help="the published models, and the interconnects")
    parser.add_argument("--gpus", metavar="N", type=positive, help="devices (as many as the recipe starts)")
    parser.add_argument(
        "--gpu", metavar="NAME", default="H100", help="which GPU (H100), or cpu: processes on this machine"
    )
    parser.add_argument("--gpus-per-node", metavar="N", type=positive, help="devices in a node (8)")
    parser.add_argument(
        "--interconnect",
        metavar="NAME",
        help="between nodes: a name of --list, or GB/s of each GPU (what is usual for the GPU)",
    )
    parser.add_argument(
        "--global-batch",
        metavar="N",
        type=positive,
        help="rows of an optimiser step (as the recipe has it on every device, at most 4M tokens)",
    )
    parser.add_argument("--length", metavar="N", type=positive, help="tokens in a row (the recipe's)")
    parser.add_argument(
        "--layout",
        metavar="LAYOUT",
        help="look at this one: dp=8,tp=4,pp=2,cp=1,shard=8,v=2,rows=1,recompute=full; the rest follows",
    )
    parser.add_argument(
        "--stack",
        metavar="NAME",
        default="workbench",
        help="how it is trained: workbench (as here), megatron, megatron-2022, megatron-2021",
    )
    parser.add_argument("--top", metavar="N", type=positive, default=8, help="layouts listed (8)")
    parser.add_argument("--write", metavar="FILE", help="write the recipe with the chosen layout in it")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench plan`; exit code 1 where nothing fits."""
    from workbench.cli import plan_text, render
    from workbench.errors import UsageError

    if args.list:
        return _list(as_json=args.json)
    if args.model is None:
        raise UsageError("a model is missing", where="workbench plan", hint="a recipe, or one of --list")
    setting = _setting(args)
    if setting.length > setting.model.longest:
        render.talk(
            f"rows of {setting.length:,} tokens are longer than the {setting.model.longest:,} positions that "
            "the model has; training would need model.rope_scaling, or a longer model"
        )
    chosen, found = choose(setting, args.layout)
    if args.write:
        _write(args, chosen)
    if args.json:
        print(render.as_json(plan_text.as_dict(setting, chosen, found, args.top)))
    else:
        print(plan_text.page(setting, chosen, found, args.top))
    return 0 if chosen.fits else 1


def _setting(args: argparse.Namespace) -> Setting:
    from workbench.scaling.layouts import cluster, setting_of, subject_of

    subject = subject_of(args.model, args.overrides)
    launch = subject.recipe.launch if subject.recipe else None
    gpus = args.gpus or (launch.world_size if launch else 8)
    on = cluster(args.gpu, gpus, gpus_per_node=args.gpus_per_node, interconnect=args.interconnect)
    return setting_of(subject, on, length=args.length, global_batch=args.global_batch, stack=args.stack)


def choose(setting: Setting, wanted: str | None) -> tuple[Plan, Found]:
    """The layout that was asked for, else the fastest that fits, else what comes nearest to fitting.

    Raises `UsageError` for a layout that cannot be, with the nearest that can, and where there is none.
    """
    from workbench.errors import UsageError
    from workbench.scaling.layouts import completed, explain, nearest_words, parse, plan, search

    found = search(setting)
    if wanted is not None:
        layout = completed(parse(wanted), setting)
        wrong, other = explain(layout, setting, found)
        if wrong:
            hint = nearest_words(other, "--layout ")
            raise UsageError("; ".join(wrong), where=f"--layout {wanted}", hint=hint)
        return plan(setting, layout), found
    if not found.fitting and not found.too_large:
        raise UsageError(*_none_at_all(setting))
    return (found.fitting or found.too_large)[0], found


def _none_at_all(setting: Setting) -> tuple[str]:
    gpus, batch = setting.cluster.gpus, setting.global_batch
    return (
        f"no layout shares a step of {batch:,} rows among {gpus:,} devices; "
        f"give a step more rows, such as --global-batch {-(-batch // gpus) * gpus}",
    )


def _write(args: argparse.Namespace, chosen: Plan) -> None:
    """Write the recipe with the chosen layout. Raises `UsageError` for a model without a recipe."""
    from pathlib import Path

    from workbench.cli import render
    from workbench.errors import UsageError, storage_error
    from workbench.scaling.layouts import recipe_with, subject_of
    from workbench.store.files import replace_file

    recipe = subject_of(args.model, args.overrides).recipe
    if recipe is None:
        raise UsageError(
            f"{args.model} is known by its sizes alone, so there is no recipe to write",
            where="--write",
            hint="plan a preset or a recipe file",
        )
    path = Path(args.write).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError("a recipe file ends in .yaml", where=f"--write {args.write}")
    if path.exists():
        raise UsageError("there is such a file already", where=f"--write {args.write}", hint="another name")
    text = recipe_with(recipe, chosen, args.model)
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise storage_error(error, path) from None
    render.talk(f"wrote {path}; start it with: workbench train {path}")


def _list(*, as_json: bool) -> int:
    from workbench.cli import plan_text, render

    print(render.as_json(plan_text.known_as_dict()) if as_json else plan_text.known_page())
    return 0
