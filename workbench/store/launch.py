"""Starting, stopping and resuming the worker of a run, from a process that has no torch.

The worker gets its own session, so neither a hang-up of the terminal nor the end of the process that
started it reaches it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from workbench.errors import RunError, storage_error
from workbench.store import slurm
from workbench.store.runs import Run
from workbench.store.spawning import spawn

if TYPE_CHECKING:
    from workbench.recipe import LaunchSection


def command(run: Run, launch: LaunchSection, machine_rank: int = 0) -> list[str]:
    """The command line of the worker: plain, or of the launcher of its processes on one machine of
    several."""
    if launch.world_size == 1:
        return [sys.executable, "-m", "workbench.training", str(run.path)]
    launcher = [sys.executable, "-m", "workbench.training.launcher", str(run.path)]
    return launcher if launch.num_machines == 1 else [*launcher, "--machine-rank", str(machine_rank)]


def start(run: Run) -> None:
    """Start the worker of a run, detached; also how a stopped, failed or lost run goes on.

    Raises `RunError` when a worker is at it already or there is nothing left to do.
    """
    status = run.status()
    if status.is_active:
        where = f"process {status.process.pid} on {status.process.host}" if status.process else str(run.path)
        raise RunError(f"“{run.name}” is running already", where=where)
    if status.state == "finished":
        raise RunError(
            f"“{run.name}” is finished; there is nothing to resume",
            where=str(run.path),
            hint=f"start another from its recipe: workbench train {run.recipe_path} run.name=NEW",
        )
    recipe = run.recipe()
    if recipe.launch.main_process_ip == slurm.ADDRESS:
        raise RunError(
            f"“{run.name}” is for a cluster, whose machines Slurm chooses",
            where=str(run.path),
            hint=f"workbench launch slurm {run.name} --nodes {recipe.launch.num_machines} --submit",
        )
    slurm.check_free(run)
    status.state, status.message, status.error, status.process = "starting", "", None, None
    status.progress = status.ended = status.eta_seconds = None
    status.write(run.status_path)
    run.stop_path.unlink(missing_ok=True)
    spawn(command(run, recipe.launch), run.log_path, waits_for=run.name)


def request_stop(run: Run) -> None:
    """Ask the worker to write a checkpoint and stop: by signal here, by a file on another host."""
    status = run.status()
    if not status.is_active:
        job = slurm.job_of(run) if status.state == "queued" else None
        raise RunError(
            f"“{run.name}” is not running (it is {status.seen_state()})",
            where=str(run.path),
            hint=f"scancel {job.job_id} takes its job out of the queue" if job else "",
        )
    try:
        run.stop_path.touch()
    except OSError as error:
        raise storage_error(error, run.stop_path) from None
    if status.process and status.process.liveness() == "alive":
        os.kill(status.process.pid, signal.SIGTERM)


def kill(run: Run) -> None:
    """End the worker at once, with all processes of its session. Its last checkpoint stays."""
    status = run.status()
    process = status.process
    if process is None or process.liveness() != "alive":
        raise RunError(f"“{run.name}” has no process on this host", where=str(run.path))
    if status.session and status.session != os.getsid(0) and os.getsid(process.pid) == status.session:
        os.killpg(status.session, signal.SIGKILL)
    else:
        os.kill(process.pid, signal.SIGKILL)


def wait(run: Run, timeout: float, poll: float = 0.1) -> str:
    """Wait until no worker is at the run, at most `timeout` seconds; returns the state seen."""
    deadline = time.monotonic() + timeout
    while run.status().is_active and time.monotonic() < deadline:
        time.sleep(poll)
    return run.status().seen_state()
