"""Tasks on this machine, several at once: processes that live as long as the cleaning, and end with it.

datatrove's own local executor keeps a manager process that outlives a driver which is killed. These read
their tasks from a pipe, whose end they see; what a task does is datatrove's (`_run_for_rank`), and so are its
logs and completions.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from datatrove.executor.local import LocalPipelineExecutor

from workbench.data.cleaning import live
from workbench.errors import WorkbenchError

MODULE = "workbench.data.cleaning.workers"
POLL_SECONDS = 0.5


class InThisProcess(LocalPipelineExecutor):
    """One task behind the other."""

    pipeline: list[Any]

    def run(self) -> None:
        for rank in self.get_incomplete_ranks(range(self.tasks)):
            self.run_rank(rank)

    def run_rank(self, rank: int) -> None:
        """One task, by blocks of its own."""
        whole = self.pipeline
        self.pipeline = deepcopy(whole)
        try:
            self._run_for_rank(rank)
        finally:
            self.pipeline = whole


class Workers:
    """Processes that take the tasks of one stage after another."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, stage: str, ranks: Sequence[int]) -> None:
        """Do these tasks of a stage; after the first that fails, no other begins. Raises what it raised."""
        while len(self._processes) < min(self.count, len(ranks)):
            self._processes.append(self._start())
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for rank in ranks:
            waiting.put(rank)
        failed: list[tuple[int, WorkbenchError]] = []
        threads = [
            threading.Thread(target=self._serve, args=(process, stage, waiting, failed), daemon=True)
            for process in self._processes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                # Not forever, so that a signal to stop is heard.
                thread.join(POLL_SECONDS)
        if failed:
            raise min(failed, key=lambda failure: failure[0])[1]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", MODULE, str(self.folder)]
        # Only these may ask whether the driver lives: a task on another node would not find its process.
        environment = {**os.environ, live.DRIVER: str(os.getpid())}
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def _serve(
        self,
        process: subprocess.Popen[bytes],
        stage: str,
        waiting: queue.SimpleQueue[int],
        failed: list[tuple[int, WorkbenchError]],
    ) -> None:
        while not failed:
            try:
                rank = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._ask(process, stage, rank)
            except WorkbenchError as error:
                failed.append((rank, error))

    @staticmethod
    def _ask(process: subprocess.Popen[bytes], stage: str, rank: int) -> None:
        from workbench.store.inspector import error_of

        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"stage": stage, "rank": rank}).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            hint = "was there enough memory? fewer executor.workers need less" if code == -9 else ""
            raise WorkbenchError(f"a worker ended with {code} at task {rank:,} of {stage}", hint=hint)
        answer = json.loads(line)
        if answer["error"] is not None:
            raise error_of(answer["error"])

    def close(self) -> None:
        """End the processes, whatever they are at: what they have not finished does not count."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._processes = []


def main(folder: Path) -> int:
    """Do the tasks that come on standard input, one a line, until it ends."""
    from workbench.data.cleaning.layout import Layout
    from workbench.data.cleaning.plan import Plan
    from workbench.data.cleaning.stages import stages_of

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed goes to the log
    layout = Layout(folder)
    recipe, plan = layout.cleaning.recipe(), Plan.from_json(layout.plan.read_bytes())
    stages = {stage.name: stage for stage in stages_of(recipe, layout, plan)}
    executors: dict[str, InThisProcess] = {}
    for line in sys.stdin.buffer:
        request = json.loads(line)
        name = request["stage"]
        if name not in executors:
            blocks, tasks = stages[name].make()
            logs = str(layout.logs(name))
            executors = {name: InThisProcess(blocks, tasks=tasks, workers=1, logging_dir=logs)}
        answers.write(json.dumps({"error": _failure(executors[name], request["rank"])}).encode() + b"\n")
        answers.flush()
    return 0


def _failure(executor: InThisProcess, rank: int) -> dict[str, Any] | None:
    """Do a task; why it failed, or nothing."""
    from workbench.data.cleaning.live import Orphaned
    from workbench.errors import storage_error

    try:
        executor.run_rank(rank)
        return None
    except WorkbenchError as error:
        found: WorkbenchError = error
    except Orphaned:
        raise SystemExit(1) from None
    except MemoryError:
        found = WorkbenchError("not enough memory", hint="fewer executor.workers need less")
    except OSError as error:
        found = storage_error(error, error.filename or "")
    except Exception as error:
        found = WorkbenchError(f"{type(error).__name__}: {error}", hint="clean.log has the whole story")
    return {"class": type(found).__name__, **found.as_dict()}


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
