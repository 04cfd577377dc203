"""What is to be asked for a session, in the order in which annotators will see it. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from workbench.prompting.ranking.failures import Failures, key_of
from workbench.store.preferences.contents import encoded
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Session, Wanted, wanted_answers

AHEAD = 64
"""Prompts that are looked up at once."""


@dataclass(frozen=True)
class Job:
    """One request: all `samples` that a model still owes to a prompt under some sampling parameters, so that
    the prompt is read once for them."""

    prompt: int
    model: str
    sampling: Mapping[str, Any]
    samples: tuple[int, ...]


class Jobs:
    """The requests that are to be made, each given out once; those that failed are not asked for again."""

    def __init__(self, database: Database, session: Session, failures: Failures) -> None:
        self._database, self._session, self._failures = database, session, failures
        self._open: dict[int, list[Job]] = {}
        """Requests that were given out and are not over, by prompt."""

    def block(self, prompts: int) -> list[Job]:
        """The requests for the next so many prompts, in order; none where all are made. Raises
        `StorageError`."""
        under_way = sum(len(job.samples) for jobs in self._open.values() for job in jobs)
        most = prompts * self._session.settings.answers_per_prompt + len(self._failures.keys) + under_way
        found: list[Job] = []
        seen = 0
        wanted = wanted_answers(self._database, self._session, most)
        for prompt, group in groupby(wanted, key=lambda one: one.prompt):
            if prompt in self._open:
                continue
            jobs = _jobs(one for one in group if _key(one) not in self._failures.keys)
            if jobs:
                found += jobs
                self._open[prompt] = list(jobs)
                seen += 1
            if seen == prompts:
                break
        return found

    def stream(self) -> Iterator[Job]:
        """All requests there are, in order, looked up as they are taken. Raises `StorageError`."""
        while block := self.block(AHEAD):
            yield from block

    def over(self, job: Job) -> None:
        """Note that a request was answered, or failed."""
        left = self._open[job.prompt]
        left.remove(job)
        if not left:
            del self._open[job.prompt]


def _key(wanted: Wanted) -> tuple[int, str, str, int]:
    return key_of(wanted.prompt, wanted.model, wanted.sampling, wanted.sample)


def _jobs(wanted: Iterator[Wanted]) -> list[Job]:
    """Answers of one prompt as requests."""
    found: dict[tuple[str, str], tuple[Wanted, list[int]]] = {}
    for one in wanted:
        key = (one.model, encoded(dict(one.sampling)))
        found.setdefault(key, (one, []))[1].append(one.sample)
    return [Job(one.prompt, one.model, one.sampling, tuple(samples)) for one, samples in found.values()]
