"""Runs on a cluster with Slurm: the job of a run (`job.json` in its folder), submitting it, asking for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.errors import RunError, storage_error
from workbench.store.files import replace_file
from workbench.store.runs import Run

JOB, SCRIPT = "job.json", "slurm.sh"
ADDRESS = "slurm"
"""What a recipe has as launch.main_process_ip where the job finds the first machine when it begins."""
SECONDS = 5.0
OVER = (
    "completed",
    "completing",
    "cancelled",
    "failed",
    "timeout",
    "node fail",
    "preempted",
    "out of memory",
)
"""States in which a job does not begin, or go on, by itself."""


@dataclass(frozen=True)
class Job:
    """The last job that was submitted for a run."""

    job_id: str
    submitted: float
    script: str

    def write(self, run: Run) -> None:
        """Keep it in the run's folder. Raises `StorageError`."""
        replace_file(run.path / JOB, json.dumps(asdict(self), indent=1).encode(), durable=True)


def job_of(run: Run) -> Job | None:
    """The job of a run; None where it was never submitted, or the file is damaged."""
    try:
        value = json.loads((run.path / JOB).read_bytes())
        job = Job(str(value["job_id"]), float(value["submitted"]), str(value["script"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return job if job.job_id.isdigit() else None


def write_script(run: Run, text: str) -> Path:
    """Put the script of a run in its folder. Raises `StorageError`."""
    path = run.path / SCRIPT
    replace_file(path, text.encode(), durable=True)
    try:
        path.chmod(0o755)
    except OSError as error:
        raise storage_error(error, path) from None
    return path


def submit(run: Run, script: Path) -> Job:
    """Hand the script to sbatch. Raises `RunError` with what sbatch said."""
    answer = _ask(["sbatch", "--parsable", str(script)], seconds=60.0)
    if answer is None and shutil.which("sbatch"):
        raise RunError(
            "sbatch has not answered for a minute",
            where=str(script),
            hint="squeue --me says whether the job is in the queue all the same",
        )
    if answer is None:
        raise RunError(
            "sbatch is not on this machine",
            where=str(script),
            hint=f"copy nothing: on a login node of the cluster, sbatch {script}",
        )
    code, out, err = answer
    # `--parsable` gives `id`, or `id;cluster`.
    match = re.match(r"\s*(\d+)(;\S+)?\s*$", out) or re.search(r"Submitted batch job (\d+)", out)
    if code or not match:
        raise RunError(f"sbatch refused: {(err or out).strip()[:300]}", where=str(script))
    job = Job(match[1], time.time(), str(script))
    job.write(run)
    status = run.status()
    status.state, status.message, status.error = "queued", f"Slurm job {job.job_id}", None
    status.write(run.status_path, durable=True)
    return job


def state_of(job: Job) -> str:
    """What Slurm says of a job: `pending (Priority)`, `running on node[3-4]`; empty where it cannot be asked
    or knows the job no more."""
    answer = _ask(["squeue", "--noheader", "--jobs", job.job_id, "--format", "%T|%r|%N"], seconds=SECONDS)
    if answer is None or answer[0] or not answer[1].strip():
        return ""
    state, _, rest = answer[1].strip().splitlines()[0].partition("|")
    reason, _, nodes = rest.partition("|")
    words = state.lower().replace("_", " ")
    if nodes.strip():
        return f"{words} on {nodes.strip()}"
    return f"{words} ({reason.strip()})" if reason.strip() not in ("", "None") else words


def check_free(run: Run) -> None:
    """Raise `RunError` while a job of the run is in the queue: it would train beside another worker."""
    job = job_of(run)
    state = state_of(job) if job else ""
    if job and state and not state.startswith(OVER):
        raise RunError(
            f"Slurm job {job.job_id} of “{run.name}” is {state}",
            where=str(run.path),
            hint=f"wait for it, or take it out of the queue first: scancel {job.job_id}",
        )


def words_of(run: Run) -> str:
    """The job of a run in a few words; empty where it has none."""
    job = job_of(run)
    if job is None:
        return ""
    state = state_of(job)
    return f"Slurm {job.job_id}" + (f", {state}" if state else "")


def _ask(command: Sequence[str], *, seconds: float) -> tuple[int, str, str] | None:
    """Exit code, output and complaints of a command; None where there is no such command, or no answer."""
    found = shutil.which(command[0])
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.returncode, done.stdout, done.stderr
