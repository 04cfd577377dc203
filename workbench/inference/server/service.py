"""One loaded model as the endpoints see it: its names, its defaults, its engine, its renderer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.inference.engine.engine import Engine
from workbench.inference.engine.requests import (
    Ended,
    EngineRequest,
    Event,
    RequestRefused,
    SamplingParams,
)
from workbench.inference.server.failures import NotFound
from workbench.inference.server.protocol import SamplingFields
from workbench.inference.server.rendering import Renderer
from workbench.inference.server.soft_prompts import BETWEEN, ready

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
    folder: Path | None = None
    """Where the model lies, by which soft prompts of runs are found that were tuned on it."""
    is_owners: bool = True
    """Whether only its owner can talk to it, who may have folders read."""
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
                hint="it answers /v1/embeddings, and by its head /v1/fill-mask, /v1/classify or /v1/score",
            )
        return self.engine

    def chosen(self, model: str | None, soft_prompt: str | None = None) -> str | None:
        """The soft prompt that a request chooses by naming it, or by a model `MODEL:NAME`; None for the model
        as it is. Raises `NotFound` for a model that is not here, `RequestRefused` for two soft prompts."""
        if model in (None, "", "default", self.name):
            return soft_prompt
        other = (model or "").removeprefix(f"{self.name}{BETWEEN}")
        if other in ("", model):
            raise NotFound(f"there is no model “{model}”", where="model", hint=f"this is {self.name}")
        if soft_prompt not in (None, other):
            raise RequestRefused(
                f"two soft prompts for one request: {other} in model, and {soft_prompt} in soft_prompt",
                where="soft_prompt",
                hint="name one of them",
            )
        return other

    def soft_prompt(self, model: str | None, soft_prompt: str | None) -> str | None:
        """The same, loaded. Raises `RequestRefused` as well for a name that is none."""
        name = self.chosen(model, soft_prompt)
        # What the engine refuses anyway it refuses with better words than that it knows no such name.
        if name is not None and self.writer().runner.prefix is None:
            ready(name, self)
        return name

    def id_of(self, soft_prompt: str | None) -> str:
        """What the model is called in answers."""
        return self.name if soft_prompt is None else f"{self.name}{BETWEEN}{soft_prompt}"

    def params(
        self,
        asked: SamplingFields,
        prompt_length: int,
        max_tokens: int | None,
        soft_prompt: str | None = None,
    ) -> SamplingParams:
        """The settings of a request, with the model's and the server's where it says nothing.

        Raises `RequestRefused`.
        """
        engine = self.writer()

        def setting(name: str, neutral: float) -> Any:
            value = getattr(asked, name)
            return self.defaults.get(name, neutral) if value is None else value

        stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
        return SamplingParams(
            max_tokens=max(
                1, min(MAX_TOKENS, engine.runner.room(prompt_length, engine.prefix_of(soft_prompt)))
            )
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
