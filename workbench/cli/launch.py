"""`workbench launch …`: runs on clusters, and on machines without a batch system."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli import parser as grammar
from workbench.cli.numbers import natural, positive

if TYPE_CHECKING:
    from workbench.store.runs import Run

EXAMPLE = """workbench launch slurm my-recipe.yaml --nodes 4 --time 1-00:00:00 --partition gpu --submit
workbench launch torchrun my-recipe.yaml --hosts box1,box2"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    from workbench.cli import launch_slurm, launch_torchrun

    group = grammar.add_group(commands, "launch", help="train on several machines", example=EXAMPLE)
    for module in (launch_slurm, launch_torchrun):
        module.add_to(group)


def add_subject(parser: grammar.Parser) -> None:
    """What is trained, and on how many processes."""
    from workbench.cli.train import add_overrides

    parser.add_argument(
        "subject", metavar="RUN|RECIPE", help="a run that stands still, a preset's name, or a recipe file"
    )
    add_overrides(parser)
    parser.add_argument("--name", metavar="NAME", help="name of a new run; made from the recipe's otherwise")
    parser.add_argument(
        "--gpus-per-node",
        metavar="N",
        type=natural,
        default=8,
        help="GPUs of each machine (8); 0: on CPUs",
    )
    parser.add_argument(
        "--processes-per-node", metavar="N", type=positive, help="processes on each machine (one a GPU)"
    )


def processes_of(args: argparse.Namespace) -> int:
    """Processes on each machine. Raises `UsageError`."""
    from workbench.errors import UsageError

    processes: int = args.processes_per_node or args.gpus_per_node or 1
    if args.gpus_per_node and processes > args.gpus_per_node:
        raise UsageError(
            f"{processes} processes do not share {args.gpus_per_node} GPUs",
            where="--processes-per-node",
            hint=f"at most --processes-per-node {args.gpus_per_node}",
        )
    return processes


def run_for(args: argparse.Namespace, machines: int, address: str) -> Run:
    """The run that is named, made ready for so many machines, or a new one of the recipe.

    Raises `WorkbenchError` for a run that is active or finished, and for a layout that does not go with so
    many processes.
    """
    from workbench import paths
    from workbench.cli.train import make, stem_of
    from workbench.errors import UsageError
    from workbench.store.cluster_run import launch_overrides, relaunch
    from workbench.store.runs import find_run

    processes, cpu = processes_of(args), args.gpus_per_node == 0
    if (paths.runs_dir() / args.subject / "status.json").exists():
        if args.overrides or args.name:
            raise UsageError(
                f"“{args.subject}” is a run, whose recipe and name are made",
                where=args.overrides[0] if args.overrides else "--name",
                hint=f"start another from {paths.runs_dir() / args.subject / 'recipe.yaml'}",
            )
        run = find_run(args.subject)
        relaunch(run, machines, processes, address, cpu=cpu)
        return run
    overrides = [*launch_overrides(machines, processes, address, cpu=cpu), *args.overrides]
    return make(args.subject, overrides, stem=stem_of(args.subject), name=args.name)
