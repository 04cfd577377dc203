"""A model that says what a test wants it to say, token by token, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence

from workbench.errors import ServerError
from workbench.inference.generation import (
    Completion,
    Delta,
    OnDelta,
    Request,
    Response,
    TokenLogprob,
    ToolCall,
    Usage,
)

Answer = str | Completion
Script = Callable[[Request, int], Answer]
"""What to answer to a request as its nth answer, counted from 0."""

_TOKEN = re.compile(r"\s*\S+|\s+")


class ScriptedModel:
    """Answers from a script, or one text after the other; streams one token of each answer in turn.

    `logprob` is every token's; None says that the model reports none. `requests` are all that came,
    `running` those that are being answered, `cancelled` those that were broken off.
    """

    def __init__(
        self,
        script: Script | Iterable[Answer],
        *,
        logprob: float | Callable[[str], float] | None = -0.5,
        streams: bool = True,
        name: str = "scripted",
    ) -> None:
        self.name = name
        self._script = script if callable(script) else _one_after_the_other(script)
        self._logprob, self._streams = logprob, streams
        self.requests: list[Request] = []
        self.running = self.cancelled = 0

    async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
        """Answer a request; each token takes one turn of the event loop."""
        self.requests.append(request)
        self.running += 1
        try:
            completions = [self._completion(request, index) for index in range(request.n)]
            await self._stream(completions, on_delta if self._streams else None)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        read = sum(len(tokens(str(message.get("content") or ""))) for message in request.messages)
        written = sum(len(tokens(completion.text)) for completion in completions)
        return Response(
            completions, Usage(read + len(tokens(request.prompt or "")), written), model=self.name
        )

    def _completion(self, request: Request, index: int) -> Completion:
        said = self._script(request, index)
        completion = Completion(text=said) if isinstance(said, str) else said
        completion.index = index
        completion.finish_reason = completion.finish_reason or (
            "tool_calls" if completion.tool_calls else "stop"
        )
        if request.logprobs is not None and self._logprob is not None and not completion.logprobs:
            value = self._logprob
            completion.logprobs = [
                TokenLogprob(token, value(token) if callable(value) else value)
                for token in tokens(completion.text)
            ]
        return completion

    async def _stream(self, completions: Sequence[Completion], on_delta: OnDelta | None) -> None:
        longest = max(len(tokens(completion.text)) for completion in completions)
        for position in range(longest + 1):
            await asyncio.sleep(0)
            for completion in completions if on_delta is not None else ():
                self._tell(completion, position, on_delta)

    @staticmethod
    def _tell(completion: Completion, position: int, on_delta: OnDelta | None) -> None:
        assert on_delta is not None
        pieces = tokens(completion.text)
        if position < len(pieces):
            known = tuple(completion.logprobs[position : position + 1])
            on_delta(Delta(completion.index, pieces[position], known))
        elif position == len(pieces):
            on_delta(Delta(completion.index, finish_reason=completion.finish_reason))


def tokens(text: str) -> list[str]:
    """A text in pieces: each a word with the blanks before it."""
    return _TOKEN.findall(text)


def calls(name: str, arguments: str, id: str = "call-1") -> Completion:
    """An answer that calls a tool."""
    return Completion(tool_calls=[ToolCall(id, name, arguments)])


def last_text(request: Request) -> str:
    """The last message of a request."""
    return str(request.messages[-1]["content"])


def _one_after_the_other(answers: Iterable[Answer]) -> Script:
    remaining = iter(answers)

    def script(request: Request, index: int) -> Answer:
        try:
            return next(remaining)
        except StopIteration:
            raise ServerError("the script is at its end", where="scripted") from None

    return script


class ScriptedEmbedder:
    """Embeds each text as the counts of some words, and remembers how many texts it was given."""

    def __init__(self, *words: str, name: str = "scripted-embedder") -> None:
        self.name, self.words = name, words
        self.embedded = 0

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text."""
        await asyncio.sleep(0)
        self.embedded += len(texts)
        return [[float(text.casefold().count(word)) for word in self.words] for text in texts]
