"""The process of a cleaning: plans, tries the rules, takes stage after stage, and puts the result in its
place."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from workbench.data.cleaning.blocks import GLOBAL, make_step
from workbench.data.cleaning.card import write_card
from workbench.data.cleaning.executors import run_stage, workers_of
from workbench.data.cleaning.layout import Layout, clear_temporaries, link, write_json
from workbench.data.cleaning.lost import lost_items
from workbench.data.cleaning.plan import Plan, make_plan, signature_of, sources_of
from workbench.data.cleaning.reports.report import make_report
from workbench.data.cleaning.sample import check_sample, drops_everything
from workbench.data.cleaning.stages import Stage, stages_of
from workbench.data.cleaning.steps.decontamination import build_index
from workbench.data.cleaning.workers import Workers
from workbench.errors import DataError, RunError, StorageError, WorkbenchError, storage_error
from workbench.recipe.cleaning import CleaningRecipe
from workbench.store.cleaning import Cleaning
from workbench.store.cleaning_steps import StepCounts, StepReader
from workbench.store.files import replace_file, sync_folder
from workbench.store.process import ProcessIdentity
from workbench.store.status import Status

BEAT_SECONDS = 5.0


class Stopped(BaseException):
    """The driver was asked to stop."""


def main(folder: Path) -> int:
    """Clean what the recipe in `folder` says, going on where it was. Returns the exit code."""
    cleaning = Cleaning(folder.resolve())
    status = Status.read(cleaning.status_path)
    try:
        with _alone(cleaning):
            return _main(cleaning, status)
    except RunError as error:
        print(error.render())
        return 1
    except StorageError as error:
        return Driver(cleaning, status).end("failed", error=error)


def _main(cleaning: Cleaning, status: Status) -> int:
    # One thread each: the tasks are the parallelism, and sums must not depend on the threads.
    os.environ.update(
        OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_DATASETS_DISABLE_PROGRESS_BARS="1"
    )
    status.process, status.session, status.error = ProcessIdentity.current(), os.getsid(0), None
    status.ended = None
    status.started = time.time()
    driver = Driver(cleaning, status)
    signal.signal(signal.SIGTERM, _stop)
    try:
        with driver.beating():
            driver.run()
        return driver.end("finished")
    except Stopped:
        return driver.end("stopped", message="stopped; the same command goes on")
    except WorkbenchError as error:
        return driver.end("failed", error=error)
    except OSError as error:
        return driver.end("failed", error=storage_error(error, error.filename or cleaning.path))
    except MemoryError:
        return driver.end("failed", error=WorkbenchError("not enough memory", hint="fewer executor.workers"))
    except Exception as error:
        traceback.print_exc()
        found = error.__cause__ if isinstance(error.__cause__, WorkbenchError) else None
        told = found or WorkbenchError(f"{type(error).__name__}: {error}", where=str(cleaning.log_path))
        return driver.end("failed", error=told)


def _stop(number: int, frame: FrameType | None) -> None:
    # Once: a second one would cut short what is said of the first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


@contextmanager
def _alone(cleaning: Cleaning) -> Iterator[None]:
    """Only one driver is at a cleaning; the system lets go of the lock however it ends."""
    try:
        file = cleaning.lock_path.open("w")
    except OSError as error:
        raise storage_error(error, cleaning.lock_path) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"“{cleaning.name}” is running already", where=str(cleaning.path)) from None
        except OSError:
            pass  # some network file systems know no locks
        yield


class Driver:
    """Takes a cleaning from its recipe to its result."""

    def __init__(self, cleaning: Cleaning, status: Status) -> None:
        self.cleaning, self.status = cleaning, status
        self.layout = Layout(cleaning.path)
        self._quiet = threading.Event()
        self._lock = threading.Lock()

    def run(self, *, checks: bool = True) -> None:
        """Everything. Raises `WorkbenchError` where it cannot go on; `checks`: first try the rules on a
        sample."""
        self.say("starting", "looking at the sources")
        recipe = self.cleaning.recipe()
        if self.layout.written.exists():
            # It was killed when all was done but the tidying.
            self._tidy()
            return
        if not self.layout.plan.exists():
            self._check_result(recipe)
        plan = self._plan(recipe)
        self._prepare(recipe, plan, checks)
        shutil.rmtree(self.cleaning.progress_path, ignore_errors=True)
        stages = stages_of(recipe, self.layout, plan)
        workers = Workers(self.layout.path, workers_of(recipe.executor))
        try:
            for number, stage in enumerate(stages):
                self._take(recipe, stage, number, len(stages), workers)
        finally:
            workers.close()
        self.say(
            "saving",
            "writing the card",
            {"what": "writing the card", "done": len(stages), "total": len(stages)},
        )
        self._finish(recipe, plan)

    def say(self, state: str, message: str, progress: dict[str, object] | None = None) -> None:
        """Write the status."""
        with self._lock:
            self.status.state, self.status.message, self.status.progress = state, message, progress
            self.status.write(self.cleaning.status_path)
        print(f"{state}: {message}", flush=True)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Touch the status now and then, so that another host sees that this process is there."""

        def beat() -> None:
            while not self._quiet.wait(BEAT_SECONDS):
                with self._lock:
                    try:
                        self.status.write(self.cleaning.status_path)
                    except WorkbenchError:
                        return

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._quiet.set()
            thread.join()

    def end(self, state: str, *, message: str = "", error: WorkbenchError | None = None) -> int:
        """The last word."""
        self.status.ended = time.time()
        self.status.error = error.as_dict() if error is not None else None
        self.status.state, self.status.progress = state, None
        self.status.message = error.message if error is not None else message
        try:
            self.status.write(self.cleaning.status_path, durable=True)
        except WorkbenchError as refused:
            print(refused.render())
        if error is not None:
            print(error.render(), flush=True)
        return 0 if state == "finished" else 1

    def _check_result(self, recipe: CleaningRecipe) -> None:
        """A folder that somebody else filled is not written over."""
        folder = self.cleaning.result_path()
        if recipe.output.folder and folder.is_dir() and any(folder.iterdir()):
            raise RunError(
                "the folder for the result is not empty",
                where=str(folder),
                hint="name another output.folder, or empty it",
            )

    def _plan(self, recipe: CleaningRecipe) -> Plan:
        if not self.layout.plan.exists():
            plan = make_plan(recipe)
            if not plan.shards:
                raise DataError("the sources hold nothing to clean")
            replace_file(self.layout.plan, plan.to_json(), durable=True)
            return plan
        plan = Plan.from_json(self.layout.plan.read_bytes())
        if signature_of(sources_of(recipe)) != plan.signature:
            raise DataError(
                "the sources are not what they were when this cleaning began",
                where=", ".join(spec.path for spec in recipe.data.sources),
                hint="begin another, with another run.name",
            )
        return plan

    def _prepare(self, recipe: CleaningRecipe, plan: Plan, checks: bool) -> None:
        """The evaluation sets, and the rules tried on a sample; once."""
        mark = self.layout.work("prepared")
        if mark.exists():
            return
        if "decontamination" in recipe.steps():
            self.say("preparing", "reading the evaluation sets")
            build_index(recipe.decontamination, self.layout.work("decontamination"))
        if checks:
            self.say("preparing", "trying the rules on a sample")
            check_sample(plan, recipe, self.layout)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()

    def _take(self, recipe: CleaningRecipe, stage: Stage, number: int, total: int, workers: Workers) -> None:
        mark = self.layout.logs(stage.name) / "done"
        if mark.exists():
            return
        self.say("running", stage.name, {"what": stage.name, "done": number, "total": total})
        blocks, tasks = stage.make()
        run_stage(recipe, stage.name, blocks, tasks, self.layout.logs(stage.name), self._tell, workers)
        self._check_left(recipe, stage)
        for name in stage.steps:
            clear_temporaries(self.layout.step(recipe.steps().index(name) + 1, name))
        mark.touch()
        stage.clear()

    def _tell(self, text: str) -> None:
        self.say("running", f"{self.status.message}, {text}", self.status.progress)

    def _check_left(self, recipe: CleaningRecipe, stage: Stage) -> None:
        """Stop where a step of a stage left nothing."""
        counts = {step.name: step for step in StepReader(self.cleaning).read()}
        for name in stage.steps:
            step = counts[name]
            if step.came and not step.left:
                raise self._nothing_left(recipe, step)

    def _nothing_left(self, recipe: CleaningRecipe, step: StepCounts) -> DataError:
        name = next(known for known in recipe.steps() if known == step.name)
        lost = lost_items(self.layout.step(step.number, step.name))
        judge = None if name in GLOBAL else make_step(name, recipe, self.layout, 0)
        return drops_everything(name, step.came, Counter(step.reasons), "", judge, lost)

    def _finish(self, recipe: CleaningRecipe, plan: Plan) -> None:
        """Report, card, and the result under its name, in one step."""
        steps = [step.as_dict() for step in StepReader(self.cleaning).read()]
        report = make_report(recipe, plan.kind, steps, self.layout.work("report"))
        result = self.cleaning.result_path()
        made = result.with_name(f".{result.name}.partial")
        shutil.rmtree(made, ignore_errors=True)
        (made / "data").mkdir(parents=True)
        files = sorted(self.layout.work("result").glob(f"*.{recipe.output.format}"))
        if not files:
            raise DataError(
                "no record is left", hint="workbench data clean --list tells which step dropped how many"
            )
        for number, path in enumerate(files):
            name = f"train-{number:05d}-of-{len(files):05d}{path.suffix}"
            link(path, made / "data" / name)
        write_card(made / "README.md", recipe, report, len(files))
        write_json(self.cleaning.report_path, report)
        sync_folder(made / "data")
        if result.exists():
            # Ours, if it was killed just behind the rename; what somebody else put there is not removed.
            if recipe.output.folder and any(result.iterdir()) and _names(result) != _names(made):
                self._check_result(recipe)
            shutil.rmtree(result)
        made.rename(result)
        sync_folder(result.parent)
        self.layout.written.touch()
        self._tidy()

    def _tidy(self) -> None:
        shutil.rmtree(self.layout.work(), ignore_errors=True)
        shutil.rmtree(self.cleaning.progress_path, ignore_errors=True)


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
