"""The queue of a study: a process of its own that has one run after the other done. It may be killed.

`python -m workbench.scaling.queue STUDY_DIR --jobs K`. Every run is an ordinary one in a session of its own,
so what was running when the queue was killed goes on, and the next queue takes it up where it is. The queue
meets the interface only in `queue.json`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import statistics
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from workbench import paths
from workbench.errors import RecipeError, RunError, WorkbenchError
from workbench.scaling.plan import Plan, PlannedRun
from workbench.scaling.recipes import base_recipe, recipe_of
from workbench.scaling.spec import read_spec
from workbench.store import launch
from workbench.store.process import ProcessIdentity
from workbench.store.runs import Run, create_run
from workbench.store.scaling_studies import DONE, FAILED, RUNNING, STOPPED, WAITING, QueueState, Study
from workbench.store.spawning import spawn
from workbench.store.status import Status
from workbench.units import duration

POLL_SECONDS = 0.5
BEAT_SECONDS = 15.0
TRIES = 2
"""A run that fails is tried once more."""
STOPPING_SECONDS = 120.0
"""In which a run should have written its checkpoint."""


def start_queue(study: Study, jobs: int = 1) -> None:
    """Start the queue of a study, detached. Raises `RunError` where it runs already."""
    state = study.queue()
    if state.is_active:
        where = f"process {state.process.pid} on {state.process.host}" if state.process else ""
        raise RunError(
            f"the queue of “{study.name}” is running already",
            where=where,
            hint=f"workbench scale show {study.name}",
        )
    study.stop_path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "workbench.scaling.queue", str(study.path), "--jobs", str(jobs)]
    spawn(command, study.log_path, waits_for=study.name)


def request_stop(study: Study) -> None:
    """Ask the queue to stop its runs with a checkpoint, and then itself. Raises `RunError`."""
    state = study.queue()
    if not state.is_active:
        raise RunError(
            f"the queue of “{study.name}” is not running (it is {state.seen_state()})", where=str(study.path)
        )
    study.stop_path.touch()
    if state.process is not None and state.process.liveness() == "alive":
        os.kill(state.process.pid, signal.SIGTERM)


class Queue:
    """Has the runs of a plan done, `jobs` at a time, small ones first."""

    def __init__(self, study: Study, jobs: int = 1) -> None:
        self.study, self.jobs = study, jobs
        self.spec = read_spec(study.spec(), str(study.spec_path))
        self.base = base_recipe(self.spec, str(study.spec_path))
        self.plan = Plan.from_dict(study.plan())
        self.state = QueueState("running", "", ProcessIdentity.current(), jobs)
        before = study.queue().runs
        for run in self.plan.runs:
            known = before.get(run.name, {})
            done = known.get("state") == DONE
            # What failed or was stopped is tried again: somebody has asked for it by starting the queue.
            self.state.runs[run.name] = {"state": DONE if done else WAITING, "tries": 0, "error": ""}
        self.stopping = threading.Event()
        self._said = 0.0

    def work(self) -> str:
        """Do all there is to do; returns the state that the queue ends in."""
        self._say(f"{len(self.plan.runs)} runs, {self.jobs} at a time")
        try:
            while not self._asked_to_stop():
                self._look()
                self._fill()
                if not self._of(RUNNING) and not self._of(WAITING):
                    break
                self._keep()
                self.stopping.wait(POLL_SECONDS)
            if self._asked_to_stop():
                self._stop_runs()
        except WorkbenchError as error:
            # The disk is full, a file was damaged: nothing here could go on, and the runs stay as they are.
            self.state.message = error.render()
            self._say(error.render())
        failed = len(self._of(FAILED))
        self.state.state = "finished" if not self._of(WAITING) and not self._of(RUNNING) else "stopped"
        self._say(f"{self.state.state}: {len(self._of(DONE))} done, {failed} failed")
        self._keep(now=True)
        return self.state.state

    def _of(self, state: str) -> list[PlannedRun]:
        return [run for run in self.plan.runs if self.state.runs[run.name]["state"] == state]

    def _asked_to_stop(self) -> bool:
        return self.stopping.is_set() or self.study.stop_path.exists()

    def _look(self) -> None:
        """See how those that should be running are."""
        for planned in self._of(RUNNING):
            self._judge(planned, Run(paths.runs_dir() / planned.name))

    def _judge(self, planned: PlannedRun, run: Run) -> None:
        status = run.status()
        seen = status.seen_state()
        if status.is_active:
            return
        if seen == "finished":
            took = (status.ended or 0) - (status.started or 0)
            loss = f"{status.eval_loss:.4f}" if status.eval_loss is not None else "unknown"
            self._mark(planned, DONE, "", f"finished in {duration(took)}, held-out loss {loss}")
        elif seen == "stopped":
            self._mark(planned, STOPPED, "", "was stopped; the queue leaves it alone")
        elif self.state.runs[planned.name]["tries"] >= TRIES:
            error = (status.error or {}).get("message") or status.message or f"the run is {seen}"
            self._mark(planned, FAILED, str(error), f"failed: {error}")
        else:
            self._mark(planned, WAITING, "", f"is {seen}; it is tried once more")

    def _fill(self) -> None:
        """Start runs while there is room."""
        for planned in self._of(WAITING)[: max(0, self.jobs - len(self._of(RUNNING)))]:
            entry = self.state.runs[planned.name]
            try:
                run = self._run_of(planned)
                status = run.status()
                if status.state == "finished":
                    self._mark(planned, DONE, "", "was finished before")
                    continue
                if not status.is_active:
                    entry["tries"] += 1
                    launch.start(run)
                self._mark(planned, RUNNING, "", "goes on" if status.is_active or status.step else "started")
            except (RunError, RecipeError) as error:
                self._mark(planned, FAILED, error.message, error.message)

    def _run_of(self, planned: PlannedRun) -> Run:
        """The folder of a run, made the first time. Raises `RunError` where another's is in its place."""
        run = Run(paths.runs_dir() / planned.name)
        if not run.path.exists():
            recipe = recipe_of(self.spec, self.base, planned, self.study.path)
            if self.jobs > 1 and recipe.launch.num_threads is None:
                # Two runs with a thread on every core each wait for the other's.
                recipe.launch.num_threads = max(1, _cores() // self.jobs)
            return create_run(recipe)
        if run.recipe().run.description != planned.description:
            raise RunError(
                f"there is a run called “{planned.name}” that is not of this study",
                where=str(run.path),
                hint=f"workbench runs rm {planned.name}, or plan the study under another --name",
            )
        return run

    def _stop_runs(self) -> None:
        """Have all that runs write a checkpoint; what was stopped by us waits for the next queue."""
        self.state.state = "stopping"
        self._say("stopping")
        running = [(planned, Run(paths.runs_dir() / planned.name)) for planned in self._of(RUNNING)]
        for _, run in running:
            # One that ends just now needs no stopping, and must not keep the others from it.
            with contextlib.suppress(RunError):
                launch.request_stop(run)
        self._keep(now=True)
        deadline = time.monotonic() + STOPPING_SECONDS
        for planned, run in running:
            launch.wait(run, max(0.0, deadline - time.monotonic()))
            done = run.status().state == "finished"
            self._mark(planned, DONE if done else WAITING, "", "finished" if done else "stopped")

    def _mark(self, planned: PlannedRun, state: str, error: str, words: str) -> None:
        entry = self.state.runs[planned.name]
        entry["state"], entry["error"] = state, error
        self._say(f"{planned.name} {words}")
        self._keep(now=True)

    def _keep(self, *, now: bool = False) -> None:
        """Write the state, at every change and every few seconds."""
        if now or time.monotonic() - self._said > BEAT_SECONDS:
            self._said = time.monotonic()
            self.state.write(self.study.queue_path)

    @staticmethod
    def _say(words: str) -> None:
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {words}", flush=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(arguments: list[str]) -> int:
    """The process: one for each study, by a lock that the system lets go of however it ends."""
    study = Study(Path(arguments[0]))
    jobs = int(arguments[2]) if len(arguments) > 2 else 1
    with study.lock_path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another queue is at this study", flush=True)
            return 1
        except OSError:
            # Some network file systems know no locks.
            pass
        try:
            queue = Queue(study, jobs)
        except WorkbenchError as error:
            QueueState("stopped", error.render()).write(study.queue_path)
            print(error.render(), flush=True)
            return 1

        def stop(number: int, frame: FrameType | None) -> None:
            queue.stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        queue.work()
    return 0


def progress(study: Study) -> dict[str, Any]:
    """How far a study is, as plain values: counts of runs by state, FLOPs done and in all, the seconds that
    the rest takes if it goes on as it did (None where that is not known), and the step of what is running."""
    plan, state = Plan.from_dict(study.plan()), study.queue()
    counts = dict.fromkeys((WAITING, RUNNING, DONE, FAILED, STOPPED), 0)
    done, left, pace, running = 0.0, 0.0, list[float](), []
    for run in plan.runs:
        kind = str(state.runs.get(run.name, {}).get("state", WAITING))
        status = Run(paths.runs_dir() / run.name).status() if kind in (RUNNING, DONE) else Status()
        counts[kind] = counts.get(kind, 0) + 1
        share = 1.0 if kind == DONE else min(1.0, status.step / run.steps)
        done += run.flops * share
        # A step of a small model takes longer than its FLOPs, which the planned seconds know.
        work = run.seconds or run.flops
        left += 0.0 if kind == FAILED else work * (1 - share)
        if kind == DONE and status.started and status.ended:
            pace.append((status.ended - status.started) / work)
        elif kind == RUNNING:
            running.append({"name": run.name, "step": status.step, "steps": run.steps, "loss": status.loss})
    # The middle one: a run that was lost for a night took its time too.
    known = pace and state.is_active
    return {
        "state": state.seen_state(),
        "message": state.message,
        "counts": counts,
        "flops_done": done,
        "flops": plan.flops,
        "seconds_left": statistics.median(pace) * left / state.jobs if known else None,
        "running": running,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
