"""datatrove's executors for the stages: this machine, Slurm, Ray."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.extras import needed
from workbench.data.cleaning.workers import InThisProcess, Workers
from workbench.errors import WorkbenchError
from workbench.recipe.cleaning import CleaningRecipe
from workbench.recipe.cleaning.recipe import ExecutorSection

Blocks = list[PipelineStep]


MISSES = 3
"""A queue that so many times running does not know a job is done with it; once may be a hiccup."""


class ClusterError(WorkbenchError):
    """A cluster that does not do what it was asked."""

    title = "Cluster"


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
        _run_slurm(slurm_executor(section, name, blocks, tasks, logs), section, tell)
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


def done_tasks(logs: Path) -> int:
    """Tasks of a stage that are complete."""
    try:
        return sum(not entry.name.startswith(".") for entry in (logs / "completions").iterdir())
    except FileNotFoundError:
        return 0


def slurm_executor(
    section: ExecutorSection, name: str, blocks: Blocks, tasks: int, logs: Path
) -> SlurmPipelineExecutor:
    """The tasks as an array job; `launch_script.slurm` among the logs is what `sbatch` gets."""
    path = f'export PATH="{Path(sys.executable).parent}:$PATH"'
    return SlurmPipelineExecutor(
        blocks,
        tasks=tasks,
        time=section.time,
        partition=section.partition,
        cpus_per_task=section.cpus_per_task,
        mem_per_cpu_gb=section.mem_per_cpu_gb,
        workers=section.workers or -1,
        job_name=f"clean-{name}",
        qos=section.qos,
        env_command=section.env_command or path,
        sbatch_args=dict(section.sbatch_args),
        logging_dir=str(logs),
        slurm_logs_folder=str(logs / "slurm"),
    )


def slurm_script(section: ExecutorSection, name: str, blocks: Blocks, tasks: int, logs: Path) -> str:
    """The text of the script that a stage would be submitted with."""
    executor = slurm_executor(section, name, blocks, tasks, logs)
    text: str = executor.get_launch_file_contents(
        executor.get_sbatch_args(min(tasks, executor.max_array_size)),
        f"srun -l -n 1 launch_pickled_pipeline {logs / 'executor.pik'}",
    )
    return text


def _run_slurm(
    executor: SlurmPipelineExecutor, section: ExecutorSection, tell: Callable[[str], None]
) -> None:
    if shutil.which("sbatch") is None:
        raise ClusterError(
            "there is no sbatch here", hint="run it where jobs are submitted, or executor=local"
        )
    try:
        executor.run()
    except subprocess.CalledProcessError as error:
        raise ClusterError(
            f"sbatch refused the job (exit {error.returncode})", where=" ".join(error.cmd)
        ) from None
    if executor.job_id == -1:
        return
    tell(f"Slurm job {executor.job_id}")
    logs = Path(str(executor.logging_dir.path))
    misses = 0
    try:
        while done_tasks(logs) < executor.tasks and misses < MISSES:
            misses = 0 if _is_queued(str(executor.job_id)) else misses + 1
            time.sleep(section.poll_seconds)
    except BaseException:
        # Asked to stop: the job would go on, beside the one that the next start submits.
        if (tool := shutil.which("scancel")) is not None:
            subprocess.run([tool, str(executor.job_id)], capture_output=True, check=False)
        raise


def _is_queued(job: str) -> bool:
    """Whether Slurm still has tasks of a job to run."""
    found = subprocess.run(["squeue", "-h", "-j", job], capture_output=True, text=True, check=False)
    return found.returncode == 0 and bool(found.stdout.strip())


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
