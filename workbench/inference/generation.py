"""What is asked of a model and what it answers, whatever server it runs on. No torch.

Messages, tools and response formats are dictionaries as the OpenAI protocol has them; everything else
has a name and a type here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Message = dict[str, Any]
"""`{"role": …, "content": …}`, with `tool_calls` or `tool_call_id` where the protocol has them."""

FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `None` leaves a setting to the server, which has the model's own defaults."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Request:
    """One call: a chat (`messages`) or a plain continuation (`prompt`), answered `n` times."""

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    sampling: Sampling = Sampling()
    n: int = 1
    logprobs: int | None = None
    """Alternatives per token to report, 0 for the chosen token alone; None for no log-probabilities."""
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | dict[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TokenLogprob:
    """A token as text and bytes, the natural logarithm of its probability, and its rivals', best first."""

    token: str
    logprob: float
    bytes: bytes = b""
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class PromptToken:
    """One token of a prompt; `special` is None where the server does not tell."""

    id: int
    text: str
    special: bool | None = None


@dataclass(frozen=True)
class PromptTokens:
    """A prompt as a model sees it, and what its server has to say of it."""

    tokens: tuple[PromptToken, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToolCall:
    """A call the model asks for; `arguments` is the text it wrote, which need not be JSON."""

    id: str
    name: str
    arguments: str

    def as_message(self) -> dict[str, Any]:
        """Its entry in the `tool_calls` of an assistant's message."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


@dataclass
class Completion:
    """One of the `n` answers, growing while it streams."""

    index: int = 0
    text: str = ""
    finish_reason: FinishReason | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    @property
    def total_logprob(self) -> float | None:
        """The log-probability of the whole answer, when the tokens' are known."""
        return sum(token.logprob for token in self.logprobs) if self.logprobs else None

    def as_message(self) -> Message:
        """The answer as the assistant's message of a conversation that goes on."""
        message: Message = {"role": "assistant", "content": self.text}
        if self.tool_calls:
            message["tool_calls"] = [call.as_message() for call in self.tool_calls]
        return message


@dataclass(frozen=True)
class Usage:
    """Tokens read (of which found in a cache) and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass
class Response:
    """What came back: all answers, what they cost, and how long it took, in seconds."""

    completions: list[Completion]
    usage: Usage = Usage()
    first_token_seconds: float | None = None
    seconds: float = 0.0
    model: str = ""
    notes: tuple[str, ...] = ()
    """What the server could not do as it was asked."""

    @property
    def text(self) -> str:
        """The first answer."""
        return self.completions[0].text if self.completions else ""


@dataclass(frozen=True)
class Delta:
    """A piece of a streamed answer: text, perhaps with its tokens' probabilities, or the end of it."""

    index: int
    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None


OnDelta = Callable[[Delta], None]


class Model(Protocol):
    """A model somewhere that answers: what every prompting technique is written against.

    Cancelling the task that awaits `generate` cancels the request at the server.
    """

    name: str

    async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
        """Answer a request; `on_delta` hears the answer as it grows. Raises `ServerError`."""
        ...


class Embedder(Protocol):
    """A model somewhere that turns texts into vectors."""

    name: str

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text, all of one length. Raises `ServerError`."""
        ...
