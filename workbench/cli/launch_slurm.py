"""`workbench launch slurm`: a batch script for a run, and submitting it."""

from __future__ import annotations

import argparse
import sys

from workbench.cli import parser as grammar
from workbench.cli.numbers import positive

EXAMPLE = """workbench launch slurm my-recipe.yaml --nodes 2 --time 12:00:00 --partition gpu
workbench launch slurm run-3 --nodes 4 --time 1-00:00:00 --account project --submit
workbench launch slurm nano --nodes 2 --gpus-per-node 0 --setup 'module load gcc'"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to its group."""
    from workbench.cli.launch import add_subject

    parser = grammar.add_command(
        commands,
        "slurm",
        run,
        help="write the batch script of a run for Slurm, and submit it",
        description="Write the batch script of a run into its folder, and print where. Preempted, or at the "
        "end of its time, the job checkpoints and is queued again.",
        example=EXAMPLE,
    )
    add_subject(parser)
    parser.add_argument("--nodes", metavar="N", type=positive, default=1, help="machines (1)")
    parser.add_argument("--time", metavar="TIME", help="how long, as Slurm writes it: 12:00:00, 2-00:00:00")
    for name, what in (
        ("partition", "which partition"),
        ("account", "who pays"),
        ("qos", "quality of service"),
        ("constraint", "features that the machines must have"),
    ):
        parser.add_argument(f"--{name}", metavar="NAME", help=what)
    parser.add_argument("--cpus-per-task", metavar="N", type=positive, help="CPU cores of each machine")
    parser.add_argument("--memory", metavar="SIZE", help="memory of each machine, such as 200G")
    parser.add_argument("--container", metavar="IMAGE", help="an image that srun starts (Pyxis)")
    parser.add_argument("--mounts", metavar="FROM:TO,…", help="what the image sees (the workbench's folder)")
    parser.add_argument(
        "--setup", metavar="LINE", action="append", default=[], help="a line of shell first on each machine"
    )
    parser.add_argument("--python", metavar="PATH", default=sys.executable, help="Python on the machines")
    parser.add_argument("--no-requeue", action="store_true", help="do not queue the job again")
    parser.add_argument(
        "--warning",
        metavar="SECONDS",
        type=positive,
        default=300,
        help="told so long before its end (300)",
    )
    parser.add_argument("--submit", action="store_true", help="hand the script to sbatch")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench launch slurm`."""
    from workbench.cli import render
    from workbench.cli.launch import processes_of, run_for
    from workbench.store import slurm
    from workbench.store.slurm_script import Resources, script

    resources = Resources(
        nodes=args.nodes,
        processes=processes_of(args),
        gpus=args.gpus_per_node,
        time=args.time,
        partition=args.partition,
        account=args.account,
        qos=args.qos,
        constraint=args.constraint,
        cpus_per_task=args.cpus_per_task,
        memory=args.memory,
        container=args.container,
        mounts=args.mounts,
        setup=tuple(args.setup),
        python=args.python,
        requeue=not args.no_requeue,
        warning=args.warning,
    )
    # Before a run is made of it.
    resources.check()
    made = run_for(args, args.nodes, slurm.ADDRESS)
    path = slurm.write_script(made, script(made, resources))
    job = slurm.submit(made, path) if args.submit else None
    if args.json:
        print(
            render.as_json(
                {"run": made.name, "path": str(made.path), "script": str(path), "job_id": job and job.job_id}
            )
        )
    else:
        print(job.job_id if job else path)
    if job:
        render.talk(f"run {made.name} is queued as job {job.job_id}; watch it with: workbench")
    else:
        render.talk(f"run {made.name} in {made.path}; submit it with: sbatch {path}")
    return 0
