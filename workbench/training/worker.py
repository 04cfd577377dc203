"""The life of a worker process: lock the run, say so, train, and end in a state a person can read."""

from __future__ import annotations

import fcntl
import os
import sys
import time
import traceback
from pathlib import Path
from typing import IO

from workbench.errors import RunError, TrainingError, WorkbenchError, storage_error
from workbench.store.runs import Run
from workbench.training import failures
from workbench.training.reporter import Reporter
from workbench.training.stop import Stopped, StopRequest

# A killed worker is seen as gone a moment before the system has closed the last of its files.
LOCK_PATIENCE_SECONDS = 3.0


def main(folder: Path) -> int:
    """Train the run in `folder` to its end. Returns the exit code: 0 finished or stopped, 1 failed."""
    run = Run(folder.resolve())
    rank = int(os.environ.get("RANK", "0"))
    stop = StopRequest(run)
    stop.install()
    try:
        lock = lock_run(run) if rank == 0 else None
    except WorkbenchError as error:
        # Another worker holds the run: its status is not ours to change.
        print(error.render(), file=sys.stderr)
        return 1
    reporter = Reporter(run, enabled=rank == 0)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    failures.forget(run, rank)
    if rank == 0:
        print(f"=== worker {os.getpid()} starts, {time.strftime('%Y-%m-%d %H:%M:%S')}", flush=True)
    try:
        reporter.begin()
        # torch takes seconds to import: only now, when the status already says who is at work.
        from workbench.training.session import train

        finished = train(run, run.recipe(), reporter, stop)
        reporter.finish("finished" if finished else "stopped", "" if finished else "stopped on request")
    except Stopped:
        # A rollback, and a resumed run, prepare rows too.
        late = reporter.status.step > 0
        reporter.finish("stopped", "stopped on request" if late else "stopped before the first step")
    except WorkbenchError as error:
        print(error.render(), file=sys.stderr)
        if several:
            failures.leave_word(run, rank, error, is_lost=False)
        reporter.finish("failed", error.message, error)
        return 1
    except Exception as error:
        traceback.print_exc()
        is_lost = several and failures.is_lost(error)
        known = failures.lost(run) if is_lost else explain(error, run)
        if several:
            failures.leave_word(run, rank, known, is_lost=is_lost)
        reporter.finish("failed", known.message, known)
        return 1
    finally:
        if lock is not None:
            lock.close()
        # Who is told may take long, and whoever goes on with the run need not wait.
        reporter.tell()
    return 0


def lock_run(run: Run) -> IO[bytes]:
    """Hold the run for this process; the lock ends with it, however it ends."""
    try:
        lock = run.lock_path.open("ab")
    except OSError as error:
        raise storage_error(error, run.lock_path) from None
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while not _try_lock(lock):
        if time.monotonic() < deadline:
            time.sleep(0.05)
            continue
        lock.close()
        raise RunError(
            "another worker is at this run",
            where=str(run.path),
            hint=f"watch it with: workbench runs follow {run.name}",
        ) from None
    return lock


def _try_lock(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def explain(error: Exception, run: Run) -> WorkbenchError:
    """An error of the libraries below as one a user can act on."""
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, OSError) and error.errno:
        return storage_error(error, error.filename or run.path)
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return TrainingError(
            "out of memory",
            where=text[:300],
            hint="halve training.per_device_train_batch_size and double gradient_accumulation_steps, "
            "or set training.gradient_checkpointing=true or bf16=true",
        )
    return TrainingError(
        f"unexpected {type(error).__name__}: {text[:300]}",
        where=str(run.log_path),
        hint="the log holds the full traceback",
    )


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on a GPU or in torch's CPU allocator."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(
        sign in str(error) for sign in ("not enough memory", "can't allocate memory", "out of memory")
    )
