"""Asking a model for every item: so many at once, each result kept as it comes, going on where it stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import ServerError, UsageError, WorkbenchError
from workbench.inference.generation import Embedder, Model
from workbench.prompting.evaluation import summary
from workbench.prompting.evaluation.items import Item
from workbench.prompting.evaluation.observed import Observed
from workbench.prompting.evaluation.results import Result, result_of, transcript
from workbench.prompting.evaluation.searched import searched
from workbench.prompting.evaluation.setup import Setup, check_same
from workbench.prompting.judging.judge import Judge
from workbench.prompting.technique import Outcome, Session, Step, Task, Trace
from workbench.prompting.together import together
from workbench.store.evaluations import Evaluation
from workbench.store.json_lines import LinesWriter

SUMMARY_SECONDS = 2.0
"""Between two summaries while it runs, or twenty times what one takes if that is more."""
WAIT_SECONDS = 1.0
"""Before an item is tried a second time; twice as long before each further time."""
GIVE_UP_AFTER = 5
"""Items that fail one after the other, each as often as it may be tried: the server is not coming back."""


@dataclass(frozen=True)
class Effort:
    """How hard it is tried: how many items at once, and how often each."""

    concurrency: int = 8
    tries: int = 4


JUDGES_ITSELF = (
    "the judge is the model that it judges, or one of its name: models prefer their own answers, so these "
    "scores are likely too high"
)

Progress = Callable[[int, int, float | None], None]
"""Hears after each item how many are done, how many failed, and the accuracy so far, which with a judge is
the mean share of the scale."""


async def evaluate(
    setup: Setup,
    items: Sequence[Item],
    model: Model,
    evaluation: Evaluation,
    *,
    effort: Effort | None = None,
    embedder: Embedder | None = None,
    judge: Model | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Do what is missing of an evaluation, and sum it up. It can be cancelled, and killed, at any moment.

    `judge` is the model that judges the answers, where the setup has one.
    Raises `RunError` while another process is at it, `UsageError` where it was begun with other settings,
    `ServerError` where item after item fails, and what else a technique raises.
    """
    begin(evaluation, setup, len(items))
    with evaluation.open_results() as results, LinesWriter(evaluation.failures_path) as failures:
        run = _Run(setup, items, Observed(model, keep=False), evaluation, effort or Effort(), embedder)
        run.results, run.failures, run.progress = results, failures, progress
        if setup.judge is not None:
            assert judge is not None
            run.judge = Judge(setup.judge, Observed(judge, keep=False))
        return await run.do()


def begin(evaluation: Evaluation, setup: Setup, items: int) -> None:
    """Put the settings down, or see that they are those it was begun with; it may grow, but not shrink.

    Raises `UsageError`, `RunError`, `StorageError`.
    """
    record = setup.record
    created = time.time()
    if evaluation.settings_path.exists():
        check_same(evaluation, record)
        before = evaluation.settings()
        created = before.get("created", created)
        if items < before.get("items", 0):
            raise UsageError(
                f"the evaluation “{evaluation.name}” is over {before['items']} items, not {items}",
                where=str(evaluation.path),
                hint="it may grow; fewer items are another evaluation: give it a --name",
            )
    evaluation.write_settings({"name": evaluation.name, "created": created, "items": items, **record})


@dataclass(frozen=True)
class _Answered:
    """What a technique came to for an item, before it is judged: a failing judge is asked again alone."""

    task: Task
    outcomes: Sequence[Outcome]
    steps: Sequence[Step]
    seconds: float


@dataclass
class _Run:
    """One evaluation while it runs."""

    setup: Setup
    items: Sequence[Item]
    model: Observed
    evaluation: Evaluation
    effort: Effort
    embedder: Embedder | None
    results: LinesWriter = field(init=False)
    failures: LinesWriter = field(init=False)
    progress: Progress | None = None
    done: dict[str, Result] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    failed_in_a_row: int = 0
    scored: int = 0
    score: float = 0.0
    next_summary: float = 0.0
    judge: Judge | None = None
    notes: list[str] = field(default_factory=list)

    async def do(self) -> dict[str, Any]:
        """Ask for all that is missing."""
        wanted = {item.id for item in self.items}
        for result in summary.results_in(self.evaluation):
            if result.id in wanted:
                self._take(result)
        if self.setup.judges_itself:
            self.notes.append(JUDGES_ITSELF)
        missing = [item for item in self.items if item.id not in self.done]
        state, error = "stopped", None
        self._summarise("running")
        try:
            queue = iter(missing)
            workers = min(self.effort.concurrency, len(missing))
            await together(self._work(queue) for _ in range(workers))
            state = "finished"
        except WorkbenchError as problem:
            state, error = "failed", problem.as_dict()
            raise
        finally:
            self.notes += self._changed()
            told = self._summarise(state, error)
        return told

    def _changed(self) -> list[str]:
        """Which collections are others now than when it began: a search sees an ingest at once."""
        before = self.setup.record["collections"]
        try:
            now = searched(self.setup.technique)
        except WorkbenchError:
            now = {}
        return [
            f"the collection “{name}” changed while this ran: the answers are from both states of it"
            for name in before
            if now.get(name) != before[name]
        ]

    async def _work(self, queue: Iterator[Item]) -> None:
        for item in queue:
            await self._do(item)
            if self.progress is not None:
                accuracy = self.score / self.scored if self.scored else None
                self.progress(len(self.done), len(self.failed), accuracy)
            if time.monotonic() > self.next_summary:
                self._summarise("running")

    async def _do(self, item: Item) -> None:
        """One item, tried as often as it may be; what it came to is kept at once."""
        answered: _Answered | None = None
        for number in range(self.effort.tries):
            if number:
                await asyncio.sleep(WAIT_SECONDS * 2 ** (number - 1))
            try:
                if answered is None:
                    answered = await self._ask(item)
                record = await self._record(item, answered)
            except ServerError as error:
                problem = error
            else:
                self.results.write(record)
                result = result_of(record)
                assert result is not None
                self._take(result)
                return
        self._fail(item, problem)

    async def _ask(self, item: Item) -> _Answered:
        task = self.setup.task(item)
        session = Session(self.model, Trace(), embedder=self.embedder)
        started = time.monotonic()
        outcomes = await self.setup.technique.run(task, session, self.setup.samples)
        return _Answered(task, outcomes, session.trace.steps, time.monotonic() - started)

    async def _record(self, item: Item, answered: _Answered) -> dict[str, Any]:
        """The transcript, with the judge's verdicts where there is one."""
        task, steps = answered.task, list(answered.steps)
        verdicts = []
        for chain, outcome in enumerate(answered.outcomes) if self.judge is not None else ():
            assert self.judge is not None
            verdict, step = await self.judge.judge(task, outcome.text, item.references, chain)
            verdicts.append(verdict)
            steps.append(step)
        question, seconds = task.question, answered.seconds
        return transcript(item, self.setup, question, answered.outcomes, steps, seconds, verdicts)

    def _take(self, result: Result) -> None:
        self.done[result.id] = result
        self.failed_in_a_row = 0
        if result.score is not None:
            self.scored += 1
            self.score += result.score

    def _fail(self, item: Item, error: ServerError) -> None:
        self.failures.write(
            {
                "id": item.id,
                "row": item.row,
                "where": item.where,
                "error": error.as_dict(),
                "time": time.time(),
            }
        )
        self.failed.add(item.id)
        self.failed_in_a_row += 1
        if self.failed_in_a_row >= GIVE_UP_AFTER:
            raise ServerError(
                f"{self.failed_in_a_row} items in a row failed, each tried {self.effort.tries} times; "
                f"the last: {error.message}",
                where=error.where,
                hint=f"{error.hint + '; ' if error.hint else ''}the same command goes on where it stopped",
            ) from None

    def _notes(self) -> list[str]:
        judge = self.judge.model if self.judge is not None else None
        theirs = [f"the judge: {note}" for note in judge.notes] if isinstance(judge, Observed) else []
        return [*self.model.notes, *theirs, *self.notes]

    def _summarise(self, state: str, error: dict[str, str] | None = None) -> dict[str, Any]:
        """Write the summary; the interval only at the end, since it takes a while."""
        started = time.monotonic()
        results = sorted(self.done.values(), key=lambda result: result.row)
        make = summary.tally if state == "running" else summary.summarise
        told = {
            "state": state,
            "error": error,
            **make(results, len(self.items), len(self.failed), self.setup.record["judge"]),
            "notes": self._notes(),
        }
        self.evaluation.write_summary(told)
        now = time.monotonic()
        self.next_summary = now + max(SUMMARY_SECONDS, 20 * (now - started))
        return told
