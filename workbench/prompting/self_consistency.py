"""Self-consistency (Wang et al. 2022): many sampled chains, and a vote on their answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, model_validator

from workbench.errors import PromptError, ServerError
from workbench.inference.generation import Usage
from workbench.prompting.answers import key
from workbench.prompting.examine import answer_wanted, examine
from workbench.prompting.technique import Outcome, Session, Step, Task, Technique
from workbench.prompting.together import stop
from workbench.prompting.vote import Ballot, Vote
from workbench.recipe.section import Section


class SelfConsistencySettings(Section):
    """How many chains vote, how, and when it is over."""

    samples: int = Field(10, ge=2, le=1000, description="Chains that vote at most.")
    vote: Literal["majority", "probability"] = Field(
        "majority", description="majority, or probability: each chain counts by its own."
    )
    length_normalised: bool = Field(
        True, description="Probability: the geometric mean per token rather than the whole chain's."
    )
    temperature: float | None = Field(
        0.7, gt=0, le=10, description="Temperature of the chains. Empty: the prompt's own."
    )
    early_stop: bool = Field(True, description="Stop when the vote can no longer change.")
    confidence: float | None = Field(
        None,
        gt=0.5,
        lt=1,
        description="Stop as well when the leader is the likelier answer with this probability. "
        "0.95 saves more chains, and may now and then change the winner.",
    )
    round_size: int = Field(
        4,
        ge=1,
        description="Stopping early: chains to run at once at the least. Fewer waste less, more wait less.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> SelfConsistencySettings:
        if self.confidence is not None and not self.early_stop:
            raise ValueError("confidence stops early, which early_stop: false forbids")
        if self.confidence is not None and self.vote == "probability":
            raise ValueError("confidence is reckoned from a majority vote, not from probabilities")
        return self


class SelfConsistency:
    """Samples chains of the technique inside, in rounds, until their vote is decided."""

    name = "self_consistency"
    Settings = SelfConsistencySettings

    def __init__(self, settings: SelfConsistencySettings, inner: Technique) -> None:
        self.settings, self.inner = settings, inner

    async def run(self, task: Task, session: Session, samples: int = 1) -> list[Outcome]:
        """One vote for each of `samples`. Raises `PromptError`, and what the technique inside raises."""
        outcomes = []
        for number in range(samples):
            before = number * self.settings.samples
            poll = _Poll(self, _seeded(self._sampled(task), before), session.shifted(before))
            outcomes.append(await poll.hold())
            if session.on_outcome is not None:
                session.on_outcome(number, outcomes[-1])
        return outcomes

    def _sampled(self, task: Task) -> Task:
        """The task as its chains are drawn."""
        settings = self.settings
        temperature = task.sampling.temperature if settings.temperature is None else settings.temperature
        if temperature == 0:
            raise PromptError(
                f"{settings.samples} chains at temperature 0 are all the same",
                where="self_consistency",
                hint="temperature: 0.7",
            )
        wants_logprobs = settings.vote == "probability" and task.logprobs is None
        return replace(
            task,
            answer=answer_wanted(task),
            sampling=replace(task.sampling, temperature=temperature),
            logprobs=0 if wants_logprobs else task.logprobs,
        )


class _Poll:
    """One vote while it is held."""

    def __init__(self, technique: SelfConsistency, task: Task, session: Session) -> None:
        self.settings, self.inner = technique.settings, technique.inner
        self.task, self.session = task, session
        self.vote = Vote(self.settings.samples, self.settings.vote == "probability")
        self.chains: dict[int, Outcome] = {}
        self.over = asyncio.Event()

    async def hold(self) -> Outcome:
        """Run rounds until the vote is over."""
        started = 0
        while started < self.vote.total and not self.over.is_set():
            started += await self._round(started, self._round_size())
        return self._result(started)

    def _round_size(self) -> int:
        settings, rest = self.settings, self.vote.rest
        if not settings.early_stop:
            return rest
        needed = 1 if settings.confidence is not None else self.vote.needed()
        return min(rest, max(needed, settings.round_size))

    async def _round(self, started: int, size: int) -> int:
        """Run chains together, and say how many there were; the end of the vote cancels what still runs."""
        session = replace(
            self.session.shifted(started),
            on_outcome=lambda chain, outcome: self._hear(started + chain, outcome),
        )
        running = asyncio.ensure_future(self.inner.run(_seeded(self.task, started), session, size))
        ended = asyncio.ensure_future(self.over.wait())
        try:
            await asyncio.wait((running, ended), return_when=asyncio.FIRST_COMPLETED)
            if all(chain in self.chains for chain in range(started, started + size)):
                # The last of them decided the vote: what is left to come is only what they cost.
                await asyncio.wait((running,))
            if not running.done():
                return size
            outcomes = running.result()
            for chain, outcome in enumerate(outcomes, started):
                self._hear(chain, outcome)
            self._note_missing(len(outcomes), size)
            return len(outcomes)
        finally:
            await stop(running, ended)

    def _note_missing(self, came: int, size: int) -> None:
        """Some servers give one answer however many are asked for: then the rounds are smaller."""
        if came == 0:
            raise ServerError("no answer came back", where=self.session.model.name)
        if came < size:
            note = f"The server gave {came} of {size} answers that were asked for at once"
            self.session.trace.add(Step("note", note, {"asked": size, "came": came}))

    def _hear(self, chain: int, outcome: Outcome) -> None:
        """Count a chain; one that was heard while others still ran comes again with its full cost."""
        earlier = self.chains.get(chain)
        self.chains[chain] = outcome
        if earlier is not None:
            outcome.answer, outcome.examined = earlier.answer, True
            outcome.details = {**earlier.details, **outcome.details}
            return
        examine(outcome, self.task, self.session.trace, chain)
        wanted, answer = answer_wanted(self.task), outcome.answer
        answer_key = None if answer is None else key(answer, wanted)
        self.vote.cast(chain, Ballot(answer_key, answer or "", self._log_weight(outcome)))
        if self.settings.early_stop and (self.vote.decided() or self._confident()):
            self.over.set()
        record = self.vote.record()
        self.session.trace.add(Step("vote", _standing(record), record, chain))

    def _confident(self) -> bool:
        wanted = self.settings.confidence
        return wanted is not None and self.vote.confidence() >= wanted

    def _log_weight(self, outcome: Outcome) -> float | None:
        """The logarithm of a chain's weight: of its probability, or of the geometric mean over its tokens."""
        if outcome.logprob is None:
            return None
        tokens = outcome.logprob_tokens or outcome.usage.completion_tokens or 1
        return min(0.0, outcome.logprob / tokens if self.settings.length_normalised else outcome.logprob)

    def _result(self, started: int) -> Outcome:
        """The first chain with the winning answer, with the vote in its details and the cost of all."""
        standing = self.vote.standing()
        chosen = standing[0].first if standing else min(self.chains)
        cancelled = started - len(self.chains)
        details: dict[str, Any] = {
            **self.vote.record(),
            "answers": [self.chains[chain].answer for chain in sorted(self.chains)],
            "chosen_chain": chosen,
            "cancelled": cancelled,
        }
        self.session.trace.add(Step("vote", _result_title(details), details))
        if self.settings.vote == "probability" and not self.vote.weighted:
            note = "The server gives no log-probabilities, so every chain counts alike"
            self.session.trace.add(Step("note", note, {}))
        usage = sum((outcome.usage for outcome in self.chains.values()), Usage())
        outcome = self.chains[chosen]
        return replace(outcome, usage=usage, details={**outcome.details, **details})


def _seeded(task: Task, before: int) -> Task:
    """The task with a seed that no earlier chain had, where it has one."""
    seed = task.sampling.seed
    return task if seed is None else replace(task, sampling=replace(task.sampling, seed=seed + before))


def _standing(record: dict[str, Any]) -> str:
    if not record["votes"]:
        return f"no answer in {record['finished']} of {record['of']} chains"
    leader = record["votes"][0]
    return f"{leader['answer']} leads with {leader['count']} of {record['finished']} chains"


def _result_title(details: dict[str, Any]) -> str:
    if not details["votes"]:
        return f"no answer in {details['finished']} chains"
    leader = details["votes"][0]
    title = f"{leader['answer']} wins with {leader['count']} of {details['finished']} chains"
    if details["tied"]:
        title += "; a tie, which the earliest chain decides"
    if details["finished"] < details["of"]:
        title += f"; {details['of'] - details['finished']} were not needed"
    return title
