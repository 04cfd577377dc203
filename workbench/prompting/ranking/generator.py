"""Making the answers of a session: prompt by prompt, several requests at once, going on where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count

from workbench.errors import DataError, ServerError
from workbench.prompting.ranking.asking import answers_of, fault_of, request_of
from workbench.prompting.ranking.failures import Failures
from workbench.prompting.ranking.jobs import Job, Jobs
from workbench.prompting.ranking.memory import fit_together
from workbench.prompting.ranking.opened import OpenedModel
from workbench.prompting.ranking.report import Report
from workbench.prompting.ranking.sources import of_settings
from workbench.prompting.together import together
from workbench.store.preferences.contents import read_prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Session, add_answers

AT_ONCE = 8
"""Requests under way. An engine computes 16 sequences in a step; servers elsewhere take more than these."""
TRIES = 4
PAUSE_SECONDS = 1.0
"""Before a request is tried a second time; twice as long before each further time."""
GIVE_UP_AFTER = 20
"""Prompts that a model fails one after the other, without having answered any."""
FIRST_TURN, LONGEST_TURN = 8, 128
"""Prompts that a model answers before it makes room for the next, where there is no memory for both: few at
first, so that something can be ranked soon, then more, for each turn loads a model."""


class Generator:
    """Makes what is missing of a session. It can be cancelled, and killed, at any moment: an answer is in the
    database, or it is asked for again."""

    def __init__(self, database: Database, session: Session, failures: Failures, report: Report) -> None:
        self._database, self._session = database, session
        self._failures, self._report = failures, report
        self._jobs = Jobs(database, session, failures)
        sources = of_settings(session.settings.extra, session.settings.models)
        self._models = {name: OpenedModel(name, source, report.say) for name, source in sources.items()}
        self._answered = set(_names_of_answers(database, session))
        self._failed_in_a_row: dict[str, int] = dict.fromkeys(sources, 0)
        self._problems: dict[str, ServerError] = {}
        self._replies: dict[str, int] = dict.fromkeys(sources, 0)

    async def run(self) -> None:
        """Make all answers that are missing.

        Raises `ServerError` where a model cannot be opened, or its server was lost and does not come back,
        `StorageError` where the disk is full: what was made till then is kept.
        """
        await self._settle(self._failures.prompts())
        first = self._jobs.block(1)
        try:
            if first and await self._open_together():
                # Nothing of the second prompt competes with the first: somebody may be waiting for it.
                await self._make(iter(first))
                await self._make(self._jobs.stream())
            elif first:
                await self._by_turns(first)
        finally:
            for model in self._models.values():
                await asyncio.shield(model.close())
        for name in self._models:
            failed = {key[0] for key in self._failures.keys if key[1] == name}
            if failed and name not in self._answered:
                raise self._mute(name, len(failed), self._problems.get(name))

    async def _open_together(self) -> bool:
        """Open all models; False where there is no memory for all at once, and none is open then."""
        models = list(self._models.values())
        local = [model for model in models if model.source.kind == "local"]
        if not await asyncio.to_thread(fit_together, [model.source for model in local]):
            return False
        for model in models:
            try:
                await model.ready()
            except ServerError as error:
                if len(local) < 2 or model is local[0] or "memory" not in f"{error.message} {error.hint}":
                    raise
                for other in models:
                    await other.close(end_engine=True)
                return False
        self._report.begin()
        return True

    async def _by_turns(self, block: Sequence[Job]) -> None:
        """One model of this machine after the other, each for a block of prompts."""
        models = list(self._models.values())
        elsewhere = {model.name for model in models if model.source.kind != "local"}
        local = [model for model in models if model.source.kind == "local"]
        self._report.note((f"there is no memory for {len(local)} models at once: they take turns",))
        size = FIRST_TURN
        for turn in count():
            for number, model in enumerate(local):
                names = {model.name} | (elsewhere if number == 0 else set())
                mine = [job for job in block if job.model in names]
                if mine:
                    await model.ready()
                    self._report.begin()
                    await self._make(iter(mine))
                if number < len(local) - 1:
                    await model.close(end_engine=True)
            # The one that is loaded begins the next turn.
            local.reverse()
            block = self._jobs.block(size)
            if not block:
                return
            size = min(LONGEST_TURN, 2 * size if turn else size)

    async def _make(self, jobs: Iterator[Job]) -> None:
        async def work() -> None:
            for job in jobs:
                await self._do(job)

        await together(work() for _ in range(AT_ONCE))

    async def _do(self, job: Job) -> None:
        """One request, tried as often as it may be; what it came to is kept at once."""
        model = self._models[job.model]
        prompt = read_prompt(self._database, job.prompt)
        problem: ServerError | None = None
        tries, others = 0, self._replies[job.model]
        while tries < TRIES:
            remote = await model.ready()
            continues = model.continues
            try:
                request = request_of(prompt, job, self._session.seed, continues=continues)
            except ServerError as error:
                problem = error
                break
            try:
                response = await remote.generate(request)
            except ServerError as error:
                problem = error
                fault = fault_of(error)
                if fault == "template" and not continues:
                    model.continues = True
                    continue
                if fault == "model":
                    raise
                if fault != "passing":
                    break
                tries += 1
                if tries == TRIES and others == self._replies[job.model]:
                    # It is not this prompt: nothing else was answered meanwhile, either.
                    raise ServerError(
                        f"{job.model} failed {TRIES} times in a row; the last time: {error.message}",
                        where=error.where,
                        hint=error.hint or "see to its server, then generate the missing answers",
                    ) from None
                await model.mend(remote)
                if tries < TRIES:
                    await asyncio.sleep(PAUSE_SECONDS * 2 ** (tries - 1))
            else:
                self._report.note(response.notes)
                self._replies[job.model] += 1
                answers = answers_of(response, job)
                await asyncio.to_thread(add_answers, self._database, self._session, job.prompt, answers)
                self._report.answered(len(answers))
                self._jobs.over(job)
                if job.model in self._answered:
                    await self._settle({job.prompt})
                else:
                    self._answered.add(job.model)
                    await self._settle(self._failures.prompts())
                return
        assert problem is not None
        await self._fail(job, problem)

    async def _fail(self, job: Job, problem: ServerError) -> None:
        """Keep why a request came to nothing, and go on without it."""
        self._failures.add(job.prompt, job.model, job.sampling, job.samples, problem)
        self._report.failed(len(job.samples))
        self._problems[job.model] = problem
        self._failed_in_a_row[job.model] += 1
        failed = self._failed_in_a_row[job.model]
        if failed >= GIVE_UP_AFTER and job.model not in self._answered:
            raise self._mute(job.model, failed, problem)
        self._jobs.over(job)
        await self._settle({job.prompt})

    def _mute(self, model: str, failed: int, problem: ServerError | None) -> ServerError:
        """A model that answers nothing: what is left without it is not what was to be compared."""
        why = problem.message if problem is not None else self._failures.last
        return ServerError(
            f"{model} answered none of {failed} prompts; the last time: {why}",
            where=problem.where if problem is not None else "",
            hint=problem.hint if problem is not None else "",
        )

    async def _settle(self, prompts: Iterable[int]) -> None:
        """Make items of the answers to prompts that some model failed, where there are enough of them: once
        nothing more is to come, and if that model answers at all."""
        for prompt in prompts:
            failed = [key for key in self._failures.keys if key[0] == prompt]
            if not failed or any(key[1] not in self._answered for key in failed):
                continue
            ((known,),) = self._database.rows("SELECT count(*) FROM answers WHERE prompt = ?", (prompt,))
            if known + len(failed) < self._session.settings.answers_per_prompt:
                continue
            # Fewer than two are nothing to compare.
            with suppress(DataError):
                await asyncio.to_thread(add_answers, self._database, self._session, prompt, (), complete=True)


def _names_of_answers(database: Database, session: Session) -> Iterator[str]:
    """The models that have answered anything in a session."""
    for (name,) in database.rows(
        "SELECT DISTINCT model FROM answers JOIN prompts ON prompts.id = answers.prompt WHERE session = ?",
        (session.id,),
    ):
        yield name
