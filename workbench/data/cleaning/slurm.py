"""Tasks on Slurm: array jobs that datatrove's executor submits, whose ids are kept in the folder of the
stage."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from workbench.errors import WorkbenchError
from workbench.recipe.cleaning.recipe import ExecutorSection

Blocks = list[PipelineStep]
Tell = Callable[[str], None]
JOBS = "slurm_jobs"
"""The ids of all jobs of a stage, one a line, among its logs."""

MISSES = 3
"""A queue that so many times running does not know a job is done with it; once may be a hiccup."""
ANSWER_SECONDS = 60.0
"""How long the queue is waited for."""


class ClusterError(WorkbenchError):
    """A cluster that does not do what it was asked."""

    title = "Cluster"


def done_tasks(logs: Path) -> int:
    """Tasks of a stage that are complete."""
    try:
        return sum(not entry.name.startswith(".") for entry in (logs / "completions").iterdir())
    except FileNotFoundError:
        return 0


class ArrayJobs(SlurmPipelineExecutor):
    """datatrove's, without its last job, which adds up statistics that nobody reads: where a task failed, it
    would wait in the queue for ever."""

    def launch_merge_stats(self) -> None:
        """Nothing."""


def slurm_executor(section: ExecutorSection, name: str, blocks: Blocks, tasks: int, logs: Path) -> ArrayJobs:
    """The tasks as an array job; `launch_script.slurm` among the logs is what `sbatch` gets."""
    path = f'export PATH="{Path(sys.executable).parent}:$PATH"'
    return ArrayJobs(
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
        job_id_retriever=partial(_noted, str(logs / JOBS)),
    )


def slurm_script(section: ExecutorSection, name: str, blocks: Blocks, tasks: int, logs: Path) -> str:
    """The text of the script that a stage would be submitted with."""
    executor = slurm_executor(section, name, blocks, tasks, logs)
    text: str = executor.get_launch_file_contents(
        executor.get_sbatch_args(min(tasks, executor.max_array_size)),
        f"srun -l -n 1 launch_pickled_pipeline {logs / 'executor.pik'}",
    )
    return text


def run_slurm(
    section: ExecutorSection, name: str, blocks: Blocks, tasks: int, logs: Path, tell: Tell
) -> None:
    """Submit the tasks of a stage that are missing, and wait for them. Raises `ClusterError`.

    Jobs of a driver that was killed are waited for first: what they do is not submitted again beside them.
    """
    if shutil.which("sbatch") is None:
        raise ClusterError(
            "there is no sbatch here", hint="run it where jobs are submitted, or executor=local"
        )
    try:
        if jobs := _jobs(logs):
            _wait(section, tasks, logs, tell, jobs)
            (logs / JOBS).unlink()
        if done_tasks(logs) < tasks:
            _submit(slurm_executor(section, name, blocks, tasks, logs))
            _wait(section, tasks, logs, tell, _jobs(logs))
    except BaseException:
        # Asked to stop: the jobs would go on, beside those that the next start submits.
        if (tool := shutil.which("scancel")) is not None and (jobs := _jobs(logs)):
            subprocess.run([tool, *jobs], capture_output=True, check=False)
        raise
    (logs / JOBS).unlink(missing_ok=True)


def _submit(executor: SlurmPipelineExecutor) -> None:
    try:
        executor.run()
    except subprocess.CalledProcessError as error:
        raise ClusterError(
            f"sbatch refused the job (exit {error.returncode})", where=" ".join(error.cmd)
        ) from None


def _wait(section: ExecutorSection, tasks: int, logs: Path, tell: Tell, jobs: list[str]) -> None:
    """Until all tasks are done, or no job is queued any more."""
    tell(f"Slurm job {', '.join(jobs)}")
    misses = 0
    while done_tasks(logs) < tasks and misses < MISSES:
        misses = 0 if any(map(_is_queued, reversed(jobs))) else misses + 1
        time.sleep(section.poll_seconds)


def _jobs(logs: Path) -> list[str]:
    try:
        return (logs / JOBS).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []


def _noted(path: str, answer: str) -> str:
    """The id of a job out of sbatch's answer; written down before anything else happens."""
    # The last line: `Submitted batch job 17 on cluster c1`, or by `--parsable` `17;c1`.
    found = re.search(r"\d+", (answer.strip().splitlines() or [""])[-1])
    if found is None:
        raise ClusterError("sbatch did not say the id of its job", where=answer.strip()[:200])
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{found[0]}\n")
    return found[0]


def _is_queued(job: str) -> bool:
    """Whether Slurm still has tasks of a job to run; not so only where it says so: while the controller does
    not answer, its jobs go on."""
    command = ["squeue", "-h", "-j", job]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=ANSWER_SECONDS
        )
    except subprocess.TimeoutExpired:
        return True
    if found.returncode:
        return "invalid job id" not in found.stderr.lower()
    return bool(found.stdout.strip())
