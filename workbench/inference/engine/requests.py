"""What the engine is asked to do, and what it tells while doing it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from workbench.errors import ServerError


@dataclass(frozen=True)
class SamplingParams:
    """How one sequence is drawn; everything settled, nothing left to defaults.

    `temperature` 0 takes the likeliest token. `top_k` 0, `top_p` 1 and `min_p` 0 leave all tokens in.
    `presence_penalty` and `frequency_penalty` are subtracted from the logits of tokens already generated
    (once, and for each time); `repetition_penalty` divides or multiplies those of every token that stood
    in the prompt or the answer (Keskar et al. 2019).
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    include_stop: bool = False
    min_tokens: int = 0
    ignore_eos: bool = False


@dataclass(frozen=True)
class EngineRequest:
    """A prompt as token ids, continued `n` times.

    `logprobs` is how many rivals of each token to report, None for no log-probabilities at all;
    `prompt_logprobs` reports those of the prompt too. `grammar` constrains what is written (a grammar of
    llguidance). `skip_special` leaves special tokens out of the text. Where the answer `continues` the
    prompt's text, a blank between the two is a part of it. `soft_prompt` names one of the engine's.
    """

    prompt: tuple[int, ...]
    params: SamplingParams
    n: int = 1
    logprobs: int | None = None
    prompt_logprobs: bool = False
    grammar: str | None = None
    skip_special: bool = True
    continues: bool = False
    soft_prompt: str | None = None


@dataclass(frozen=True)
class TokenInfo:
    """A token, the natural logarithm of its probability, and those of the likeliest ones, best first.

    `logprob` is None for the first token of a prompt, which nothing predicts, and where none was asked for.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class PromptRead:
    """The prompt was read. `tokens` is filled where its log-probabilities were asked for."""

    cached: int
    tokens: tuple[TokenInfo, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Sample `index` wrote `tokens`, which brought `text` (empty while a character or a possible stop string
    is incomplete); `finish_reason` is `stop`, `length` or None while it goes on."""

    index: int
    text: str
    tokens: tuple[TokenInfo, ...]
    finish_reason: str | None = None


@dataclass(frozen=True)
class Ended:
    """Nothing more will come: all samples are finished, or the request failed or was cancelled."""

    error: ServerError | None = None
    cancelled: bool = False


Event = PromptRead | Progress | Ended
Listener = Callable[[list[Event]], None]
"""Called from the engine's thread, with what a request has to hear of one step."""


class RequestRefused(ServerError):
    """A request that can never be served as it is; `hint` has the numbers."""

    title = "Request"


class QueueFull(ServerError):
    """A request that came while the queue was full; another time it may be served."""

    title = "Busy"
