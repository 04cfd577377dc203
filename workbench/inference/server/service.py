"""One loaded model as the endpoints see it: its names, its defaults, its engine, its renderer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from workbench.inference.engine.engine import Engine
from workbench.inference.engine.requests import (
    Ended,
    EngineRequest,
    Event,
    RequestRefused,
    SamplingParams,
)
from workbench.inference.server.protocol import SamplingFields
from workbench.inference.server.rendering import Renderer

Events = AsyncGenerator[Event, None]
MAX_TOKENS = 2048
"""Tokens that an answer may have when the client does not say."""


@dataclass
class Service:
    """What a server serves. `engine` is None for encoders, `encoder` for models that write."""

    name: str
    renderer: Renderer
    max_length: int
    engine: Engine | None = None
    encoder: Any = None
    defaults: dict[str, Any] = field(default_factory=dict)
    """`temperature`, `top_p`, `top_k`, `min_p`, `repetition_penalty` as the model's author set them."""
    details: dict[str, Any] = field(default_factory=dict)
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def continues_prompts(self) -> bool:
        """Whether what the model writes follows its prompt, as that of an encoder–decoder does not."""
        return self.details.get("kind") != "encoder_decoder"

    @property
    def vocabulary(self) -> int:
        """How many tokens there are: ids are smaller."""
        return len(self.renderer.tokenizer) if self.engine is None else self.engine.runner.vocabulary

    def writer(self) -> Engine:
        """The engine. Raises `RequestRefused` where the model does not write text."""
        if self.engine is None:
            raise RequestRefused(
                f"{self.name} is an encoder: it does not write text",
                hint="it answers /v1/embeddings, /v1/fill-mask or /v1/classify",
            )
        return self.engine

    def params(self, asked: SamplingFields, prompt_length: int, max_tokens: int | None) -> SamplingParams:
        """The settings of a request, with the model's and the server's where it says nothing.

        Raises `RequestRefused`.
        """

        def setting(name: str, neutral: float) -> Any:
            value = getattr(asked, name)
            return self.defaults.get(name, neutral) if value is None else value

        stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
        return SamplingParams(
            max_tokens=max(1, min(MAX_TOKENS, self.writer().runner.room(prompt_length)))
            if max_tokens is None
            else max_tokens,
            temperature=float(setting("temperature", 1.0)),
            top_p=float(setting("top_p", 1.0)),
            top_k=max(0, int(setting("top_k", 0))),
            min_p=float(setting("min_p", 0.0)),
            presence_penalty=asked.presence_penalty,
            frequency_penalty=asked.frequency_penalty,
            repetition_penalty=float(setting("repetition_penalty", 1.0)),
            logit_bias=self._biases(asked.logit_bias or {}),
            seed=asked.seed,
            stop=tuple(stop),
            include_stop=asked.include_stop_str_in_output,
            min_tokens=asked.min_tokens,
            ignore_eos=asked.ignore_eos,
        )

    def _biases(self, asked: dict[str, float]) -> dict[int, float]:
        size = self.vocabulary
        biases = {}
        for name, bias in asked.items():
            if not (name.isascii() and name.isdigit() and len(name) < 10 and int(name) < size):
                raise RequestRefused(
                    f"“{name}” is no token of this model", where="logit_bias", hint=f"ids are 0 to {size - 1}"
                )
            biases[int(name)] = bias
        return biases

    async def events(self, request: EngineRequest) -> Events:
        """What the engine tells of a request. To close this, or to cancel the task that waits, cancels it.

        Raises `RequestRefused` and `QueueFull` before the first event.
        """
        loop = asyncio.get_running_loop()
        heard: asyncio.Queue[list[Event]] = asyncio.Queue()

        def listener(events: list[Event]) -> None:
            loop.call_soon_threadsafe(heard.put_nowait, events)

        ticket = self.writer().submit(request, listener)
        ended = False
        try:
            while not ended:
                for event in await heard.get():
                    ended = ended or isinstance(event, Ended)
                    yield event
        finally:
            if not ended:
                ticket.cancel()
