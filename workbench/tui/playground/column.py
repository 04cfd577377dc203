"""One column: how it asks, and all that has come back so far. What is on screen is drawn from this."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from workbench.errors import WorkbenchError
from workbench.tui.playground.events import (
    Began,
    Cancelled,
    Event,
    Failed,
    Finished,
    Grew,
    Heard,
    Said,
    Stepped,
    ToolAsked,
)
from workbench.tui.playground.setup import Setup
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Span

if TYPE_CHECKING:
    from workbench.inference.generation import Message, TokenLogprob
    from workbench.prompting.technique import Outcome, Step
    from workbench.tui.playground.job import Job, Opening
    from workbench.tui.playground.outgoing import Outgoing

ColumnState = Literal["empty", "opening", "running", "done", "cancelled", "failed"]


def chain_of_outcome(number: int, details: Mapping[str, Any]) -> int:
    """The chain whose text an outcome is: of a vote, the chosen one of the chains of its own."""
    if "chosen_chain" not in details:
        return number
    return number * int(details.get("of") or 0) + int(details["chosen_chain"])


@dataclass
class Chain:
    """One sample on its way: `log` is what is shown of it, only ever added to."""

    number: int
    log: list[Span] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    pieces: int = 0
    finish: str = ""
    text: str = ""
    answer: str | None = None
    complete: bool = False

    def write(self, text: str, role: str = "") -> None:
        """Add text as it came."""
        if text:
            self.log.append((text, role))


class Column:
    """Takes the events of its job, in order; `revision` grows whenever something is to be drawn anew."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.revision = 0
        self.job: Job | None = None
        self.history_id = ""
        self.outgoing: Outgoing | None = None
        self.warming: Opening | None = None
        self.gone = ""
        self.usual_technique = ""
        """What the prompt says, where nothing was chosen instead."""
        self.waited_since = 0.0
        self.clear()

    def clear(self) -> None:
        """A conversation that has not begun."""
        self.messages: tuple[Message, ...] = ()
        self.begin("", ())
        self.state: ColumnState = "empty"

    def begin(self, question: str, earlier: tuple[Message, ...]) -> None:
        """Nothing has come yet in answer to a question."""
        self.question, self.earlier = question, earlier
        self.state = "opening"
        self.words, self.technique = "", ""
        self.error: WorkbenchError | None = None
        self.chains: dict[int, Chain] = {}
        self.steps: list[Step] = []
        self.outcomes: list[Outcome] = []
        self.asked: list[ToolAsked] = []
        self.chain = 0
        self.began = self.first = self.last = self.waited = 0.0
        self.known_rate: float | None = None
        self.known_first: float | None = None
        self.known_tokens: int | None = None
        self.notes: list[str] = []
        self.scores: dict[int, float] = {}
        """What a reward model says of the chains, by their numbers."""
        self.revision += 1

    def send(self, job: Job, question: str) -> None:
        """A job that is about to start."""
        self.job, self.outgoing = job, job.outgoing
        self.gone = ""
        self.begin(question, job.outgoing.earlier)

    def warm(self, opening: Opening | None) -> None:
        """The model is being opened."""
        self.warming, self.gone, self.words = opening, "", ""
        self.revision += 1

    def take_warming(self, event: Event) -> None:
        """One event of the opening; what it failed of is told when something is sent, too."""
        self.revision += 1
        match event:
            case Said(words):
                self.words = words
            case Failed(error, _):
                self.warming, self.words, self.gone = None, "", error.message
            case _:
                self.warming, self.words = None, ""

    @property
    def busy(self) -> bool:
        """Whether something is on its way."""
        return self.state in ("opening", "running")

    @property
    def shown(self) -> Chain | None:
        """The chain in sight."""
        return self.chains.get(self.chain)

    # What happens.

    def take(self, event: Event) -> None:
        """One event of the job."""
        self.revision += 1
        match event:
            case Grew(delta, at):
                self.first = self.first or at
                self.last = at
                chain = self.chain_of(delta.index)
                chain.write(delta.text)
                chain.text += delta.text
                chain.tokens.extend(delta.logprobs)
                chain.pieces += max(len(delta.logprobs), bool(delta.text))
                chain.finish = delta.finish_reason or chain.finish
            case Stepped(step):
                self._step(step)
            case Heard(number, outcome):
                self._heard(number, outcome)
            case Said(words):
                self.words = words
            case Began(technique, at):
                self.technique, self.began, self.state, self.words = technique, at, "running", ""
            case ToolAsked():
                self.waited_since = self.waited_since if self.asked else time.monotonic()
                self.asked.append(event)
            case Finished(outcomes, at):
                self.outcomes = list(outcomes)
                self._finish(at)
            case Failed(error, at):
                self.error = error
                self._end("failed", at)
            case Cancelled(at):
                self._end("cancelled", at)

    def chain_of(self, number: int) -> Chain:
        """A chain by number, made where there is none."""
        if number not in self.chains:
            self.chains[number] = Chain(number)
            self.chains = dict(sorted(self.chains.items()))
        return self.chains[number]

    def _step(self, step: Step) -> None:
        self.steps.append(step)
        chain = self.chain_of(step.chain or 0) if step.kind in ("tool_call", "tool_result") else None
        if chain is not None and step.kind == "tool_call":
            broken = bool(chain.log) and not chain.log[-1][0].endswith("\n")
            call = f"{step.content.get('name')}({step.content.get('arguments')})"
            chain.write("\n" * broken + f"→ {reveal_control(call)}\n", "key")
        elif chain is not None:
            role = "dim" if step.content.get("status") == "ok" else "warn"
            chain.write(f"← {step.content.get('text')}\n", role)
        elif step.kind == "extraction" and step.chain is not None:
            # Where chains vote nothing else is heard of them.
            chain = self.chain_of(step.chain)
            chain.answer, chain.complete = step.content.get("answer"), True

    def _heard(self, number: int, outcome: Outcome) -> None:
        chain = self.chain_of(chain_of_outcome(number, outcome.details))
        if not chain.log:
            chain.write(outcome.text)
        chain.complete = True
        chain.answer = outcome.answer if outcome.answer is not None else chain.answer
        chain.text = outcome.text or chain.text
        chain.finish = str(outcome.details.get("finish_reason") or chain.finish)

    def _finish(self, at: float) -> None:
        for number, outcome in enumerate(self.outcomes):
            self._heard(number, outcome)
            if number == 0:
                self.chain = chain_of_outcome(number, outcome.details)
                self.messages = tuple(outcome.messages)
        # What was cut off when a vote was decided was written, too, and is in no outcome.
        used = sum(outcome.usage.completion_tokens for outcome in self.outcomes)
        self.known_tokens = max(used, self.num_tokens) or None
        self._end("done", at)

    def _end(self, state: ColumnState, at: float) -> None:
        self.state, self.job = state, None
        self.asked.clear()
        self.last = self.last or at
        self.notes = [step.title for step in self.steps if step.kind == "note"]

    def turn_chain(self, by: int) -> None:
        """Have another chain in sight."""
        numbers = list(self.chains)
        if len(numbers) > 1:
            here = numbers.index(self.chain) if self.chain in numbers else 0
            self.chain = numbers[(here + by) % len(numbers)]

    def leave(self) -> None:
        """The interface ends: what has come so far is all there will be."""
        for event in self.job.take() if self.job is not None else ():
            self.take(event)
        if self.busy:
            self._end("cancelled", time.monotonic())

    @property
    def pending(self) -> ToolAsked | None:
        """The call that waits to be allowed; others may wait behind it."""
        return self.asked[0] if self.asked else None

    def answer_pending(self, allowed: bool, *, always: bool = False) -> None:
        """Let a tool run, or not; `always` also whatever else is asked, now or later."""
        if always and self.job is not None:
            self.job.allow_all = True
        answered = self.asked if always else self.asked[:1]
        for asked in answered:
            asked.answer(allowed)
        self.asked = self.asked[len(answered) :]
        if not self.asked:
            self.waited += time.monotonic() - self.waited_since
        self.revision += 1

    # What is measured.

    @property
    def num_tokens(self) -> int:
        """Tokens written so far, in all chains."""
        return self.known_tokens or sum(chain.pieces for chain in self.chains.values())

    @property
    def first_seconds(self) -> float | None:
        """From asking the model to the first token."""
        if self.known_first is not None:
            return self.known_first
        return self.first - self.began if self.first and self.began else None

    @property
    def rate(self) -> float | None:
        """Tokens a second, of all chains together, behind the first; a person's time to decide aside."""
        if self.known_rate is not None:
            return self.known_rate
        seconds = self.last - self.first - self.waited
        return (self.num_tokens - 1) / seconds if seconds > 0 and self.num_tokens > 1 else None

    def seconds_running(self) -> float:
        """Since the technique began."""
        return time.monotonic() - self.began if self.began else 0.0

    # What the steps say.

    def last_step(self, kind: str) -> Step | None:
        """The latest step of a kind."""
        return next((step for step in reversed(self.steps) if step.kind == kind), None)

    @property
    def vote(self) -> Mapping[str, Any] | None:
        """The vote as it stands."""
        step = self.last_step("vote")
        return step.content if step is not None else None
