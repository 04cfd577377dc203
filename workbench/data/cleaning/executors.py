"""datatrove's executors for the stages: this machine, Slurm, Ray."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.data.cleaning.extras import needed
from workbench.data.cleaning.slurm import Blocks, ClusterError, done_tasks, run_slurm
from workbench.data.cleaning.workers import InThisProcess, Workers
from workbench.recipe.cleaning import CleaningRecipe
from workbench.recipe.cleaning.recipe import ExecutorSection


def workers_of(section: ExecutorSection) -> int:
    """Tasks at once on this machine."""
    return section.workers or len(os.sched_getaffinity(0))


def run_stage(
    recipe: CleaningRecipe,
    name: str,
    blocks: Blocks,
    tasks: int,
    logs: Path,
    tell: Callable[[str], None],
    workers: Workers,
) -> None:
    """Run the tasks of a stage that are not done yet, and return when all are. Raises what a task raised."""
    section = recipe.executor
    if section.kind == "slurm":
        run_slurm(section, name, blocks, tasks, logs, tell)
    elif section.kind == "ray":
        _run_ray(section, blocks, tasks, logs)
    else:
        local = InThisProcess(blocks, tasks=tasks, workers=1, logging_dir=str(logs))
        ranks = local.get_incomplete_ranks(range(tasks))
        if min(workers.count, len(ranks)) > 1:
            workers.run(name, ranks)
        else:
            local.run()
    missing = tasks - done_tasks(logs)
    if missing > 0:
        raise ClusterError(
            f"{missing:,} of {tasks:,} tasks of the stage {name} did not end well",
            where=str(logs / "logs"),
            hint="their logs say why; the same command goes on with what is missing",
        )


def _run_ray(section: ExecutorSection, blocks: Blocks, tasks: int, logs: Path) -> None:
    with needed("ray", "ray"):
        import ray
        from datatrove.executor.ray import RayPipelineExecutor
    if not ray.is_initialized():
        here: dict[str, Any] = {"num_cpus": workers_of(section), "include_dashboard": False}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**({"address": section.address} if section.address else here), log_to_driver=False)
        except (ConnectionError, RuntimeError) as error:
            raise ClusterError(f"no Ray cluster answers: {error}", where=section.address) from None
        finally:
            # Ray puts its own in its place, and a stop would be seen as a process that is lost.
            signal.signal(signal.SIGTERM, handler)
    RayPipelineExecutor(
        blocks,
        tasks=tasks,
        workers=section.workers or -1,
        cpus_per_task=section.cpus_per_task,
        mem_per_cpu_gb=section.mem_per_cpu_gb if section.address else 0.1,
        logging_dir=str(logs),
    ).run()
