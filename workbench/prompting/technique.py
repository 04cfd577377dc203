"""What a prompting technique is: an input goes in, requests go to a model, outcomes with a trace come out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from workbench.inference.generation import (
    Completion,
    Delta,
    Embedder,
    Message,
    Model,
    Request,
    Response,
    Sampling,
    Usage,
)
from workbench.prompting.growing import Growing

if TYPE_CHECKING:
    from workbench.prompting.answers import Answer

StepKind = Literal[
    "demonstrations",
    "passages",
    "request",
    "tool_call",
    "tool_result",
    "extraction",
    "vote",
    "verdict",
    "note",
]


UserTurn = Callable[[str, Mapping[str, Any]], str]
"""A prompt's last message for another input: the bare input, and other variables. Raises `PromptError`."""


@dataclass(frozen=True)
class Task:
    """One input, already rendered through its prompt.

    `question` is the bare input, which retrieval and demonstrations search by; `messages` is the whole
    prompt with it. `id` tells a row of a data set from all others, so that it never demonstrates itself.
    `answer` says what is looked for in what the model writes, `logprobs` how many alternatives per token
    it reports, and `user_turn` what another input would read like, for demonstrations.
    """

    question: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    response_format: Mapping[str, Any] | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    answer: Answer | None = None
    logprobs: int | None = None
    user_turn: UserTurn | None = field(default=None, repr=False, compare=False)

    def with_messages(self, *messages: Message) -> Task:
        """The same input with another prompt around it."""
        return replace(self, messages=tuple(messages))

    def with_last_turn(self, change: Callable[[str], str]) -> Task:
        """The same input with the text of its last message changed."""
        *earlier, last = self.messages
        return self.with_messages(*earlier, {**last, "content": change(str(last["content"]))})

    def request(self, n: int = 1) -> Request:
        """The prompt as one request for `n` answers."""
        return Request(
            messages=self.messages,
            sampling=self.sampling,
            n=n,
            logprobs=self.logprobs,
            response_format=self.response_format,
        )


@dataclass(frozen=True)
class Step:
    """One thing that happened on the way; `content` is plain JSON, and enough to show or store it.

    `chain` says in which of several samples it happened; None where it concerns them all.
    """

    kind: StepKind
    title: str
    content: Mapping[str, Any]
    chain: int | None = None
    seconds: float = 0.0


@dataclass
class Trace:
    """All steps of one run, in order; `listener` hears each as it happens."""

    steps: list[Step] = field(default_factory=list)
    listener: Callable[[Step], None] | None = None

    def add(self, step: Step) -> None:
        """Keep a step and tell it."""
        self.steps.append(step)
        if self.listener is not None:
            self.listener(step)


@dataclass
class Outcome:
    """What one chain came to.

    `answer` is what was extracted from `text`, None where there was nothing to extract; `examined` says
    that it has been looked for. `logprob` is the natural logarithm of the probability of the chain, over
    `logprob_tokens` tokens, where the model told it. `messages` is the whole conversation, so that it can
    be continued. `details` holds what a technique adds: votes, citations.
    """

    text: str
    answer: str | None = None
    logprob: float | None = None
    messages: tuple[Message, ...] = ()
    usage: Usage = Usage()
    details: dict[str, Any] = field(default_factory=dict)
    logprob_tokens: int = 0
    examined: bool = False


Approve = Callable[[str, str], "Approval"]
Approval = Any
"""Whether a tool may be called, asked with its name and arguments: a bool, or an awaitable of one."""


@dataclass
class Session:
    """What a technique runs with: the model, the trace, who hears the text grow, who approves of tools.

    `on_outcome` hears the number and outcome of each chain that is complete while others still run; a
    technique that cannot tell early leaves it be, and a caller must not rely on it.
    """

    model: Model
    trace: Trace = field(default_factory=Trace)
    on_delta: Callable[[Delta], None] | None = None
    approve: Approve | None = None
    embedder: Embedder | None = None
    on_outcome: Callable[[int, Outcome], None] | None = None

    async def ask(
        self,
        request: Request,
        title: str,
        chain: int | None = None,
        on_completion: Callable[[Completion], None] | None = None,
    ) -> Response:
        """Send a request, and keep it with its answers in the trace. Raises `ServerError`.

        `chain` is the number of its first answer. `on_completion` hears each answer that is complete
        before the others, where the model streams. A cancelled request is kept with what had come.
        """
        started = time.monotonic()
        growing = Growing(self._told(chain or 0), on_completion)
        listens = self.on_delta is not None or on_completion is not None
        try:
            response = await self.model.generate(request, growing.hear if listens else None)
        except asyncio.CancelledError:
            response = Response(growing.so_far())
            self._keep(request, response, f"{title}, cancelled", chain, started)
            raise
        self._keep(request, response, title, chain, started)
        return response

    def _keep(
        self, request: Request, response: Response, title: str, chain: int | None, started: float
    ) -> None:
        content = request_record(request, response)
        self.trace.add(Step("request", title, content, chain, time.monotonic() - started))

    def _told(self, offset: int) -> Callable[[Delta], None] | None:
        """`on_delta` with the numbers of chains that begin at `offset`."""
        hear = self.on_delta
        if hear is None or offset == 0:
            return hear
        return lambda delta: hear(replace(delta, index=delta.index + offset))

    def shifted(self, offset: int) -> Session:
        """The same session for chains that count from `offset`: what they tell has the right numbers."""
        if offset == 0:
            return self
        keep, tell = self.trace.add, self.on_outcome

        def add(step: Step) -> None:
            keep(step if step.chain is None else replace(step, chain=step.chain + offset))

        def told(chain: int, outcome: Outcome) -> None:
            if tell is not None:
                tell(chain + offset, outcome)

        return replace(
            self,
            trace=Trace(listener=add),
            on_delta=self._told(offset),
            on_outcome=told if tell is not None else None,
        )


def request_record(request: Request, response: Response) -> dict[str, Any]:
    """A request and its answers as plain JSON."""
    prompt: dict[str, Any] = {"messages": list(request.messages)}
    if request.prompt is not None:
        prompt = {"prompt": request.prompt}
    completions = [
        {
            "text": completion.text,
            "finish_reason": completion.finish_reason,
            "tool_calls": [call.as_message() for call in completion.tool_calls],
            "logprob": completion.total_logprob,
        }
        for completion in response.completions
    ]
    usage = response.usage
    return {
        **prompt,
        "n": request.n,
        "completions": completions,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
    }


class Technique(Protocol):
    """A way of prompting. Techniques compose: one that wraps another changes its task or its outcomes.

    A class of them has its settings, a `Section`, under `Settings`. It is made as `cls(settings, inner)`
    where it wraps another, as `cls(settings)` where it sends the requests itself; `techniques.py` lists
    them all.
    """

    name: str

    async def run(self, task: Task, session: Session, samples: int = 1) -> list[Outcome]:
        """`samples` independent chains for one input, one outcome each. Raises `WorkbenchError`."""
        ...
