"""Which request is read and which samples take part in the next step; no model here, only bookkeeping.

Requests are served in the order they came. A sample is opened only when all the memory that it may ever
need is there, so that nothing that has begun is ever thrown out again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.inference.engine.requests import (
    EngineRequest,
    Event,
    Listener,
    QueueFull,
    RequestRefused,
    TokenInfo,
)
from workbench.inference.engine.sequence import Sample
from workbench.inference.limits import Limits

if TYPE_CHECKING:
    import torch

    from workbench.inference.engine.placed_prefix import PlacedPrefix
    from workbench.inference.engine.runner import Prefill


@dataclass(eq=False)
class Job:
    """A request on its way through the engine."""

    request: EngineRequest
    listener: Listener
    samples: deque[Sample]
    """Those that are not opened yet."""
    prefix: PlacedPrefix[Any] | None = None
    """The soft prompt that it was taken with, which is there until it ends."""
    active: list[Sample] = field(default_factory=list)
    prefill: Prefill | None = None
    logits: torch.Tensor | None = None
    """What follows the prompt [V], once it is read."""
    prompt_tokens: list[TokenInfo] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    is_cancelled: bool = False

    @property
    def is_read(self) -> bool:
        """Whether the prompt is read."""
        return self.logits is not None

    @property
    def shares_prompt(self) -> bool:
        """Whether its samples lie over one copy of its prompt."""
        return self.prefill is None or self.prefill.shared

    @property
    def is_done(self) -> bool:
        """Whether all samples are finished."""
        return not self.samples and not self.active


class Scheduler:
    """Waiting and running jobs, and the memory they hold or have been promised."""

    def __init__(
        self,
        limits: Limits,
        room: Callable[[int, PlacedPrefix[Any] | None], int],
        bytes_per_token: int,
        prefixes: Callable[[], Iterable[PlacedPrefix[Any]]] = tuple,
        bytes_of: Callable[[int], int] | None = None,
    ) -> None:
        """`room` tells how many tokens may follow a prompt of so many behind a prefix; `prefixes` are kept
        for requests that choose them; `bytes_of` tells what a sequence of so many tokens takes where that is
        not so many times the same."""
        self.limits = limits
        self.room = room
        self.bytes_per_token = bytes_per_token
        self.prefixes = prefixes
        self.bytes_of = bytes_of or (lambda tokens: tokens * bytes_per_token)
        self.waiting: deque[Job] = deque()
        self.running: list[Job] = []

    def check(
        self, request: EngineRequest, on_the_way: int = 0, prefix: PlacedPrefix[Any] | None = None
    ) -> None:
        """Raise `RequestRefused` for what can never be served, `QueueFull` for what cannot be taken now;
        `on_the_way` requests were taken and do not wait here yet, `prefix` stands before the prompt."""
        prompt, new = len(request.prompt), request.params.max_tokens
        behind = f" and the {prefix.length:,} virtual ones of its soft prompt" if prefix else ""
        if not prompt:
            raise RequestRefused("the prompt is empty", hint="send at least one token")
        room = self.room(prompt, prefix)
        if room < min(1, new):
            raise RequestRefused(
                f"the prompt's {prompt:,} tokens{behind} leave no room in this model",
                hint=f"shorten it by at least {1 - room:,} tokens",
            )
        if new > room:
            raise RequestRefused(
                f"after the prompt's {prompt:,} tokens{behind} this model has room for {room:,}, "
                f"and max_tokens is {new:,}",
                hint=f"ask for at most {room:,} tokens",
            )
        needed = self._needed(request, prefix)
        there = self.limits.memory_bytes - sum(kept.bytes for kept in self.prefixes())
        if needed > there:
            total = prompt + new
            most = bisect_right(range(total + 1), there, key=self.bytes_of) - 1
            is_even = self.bytes_of(total) == total * self.bytes_per_token
            each = f" of {self.bytes_per_token:,} bytes" if is_even else ""
            raise RequestRefused(
                f"one sample needs {needed / 2**20:,.0f} MiB of keys and values ({total:,} tokens{each}), "
                f"and the engine has {there / 2**20:,.0f} MiB",
                hint=f"{f'at most {most:,} tokens fit; ' if most > 0 else ''}start it with more --kv-memory",
            )
        waiting = len(self.waiting) + on_the_way
        if waiting >= self.limits.max_queue:
            raise QueueFull(f"{waiting:,} requests are waiting already", hint="try again in a moment")

    def _needed(self, request: EngineRequest, prefix: PlacedPrefix[Any] | None) -> int:
        return self.bytes_of(_prompt(request, prefix) + request.params.max_tokens)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.running and not self.waiting

    @property
    def active(self) -> list[Sample]:
        """All samples that take part in the next step."""
        return [sample for job in self.running for sample in job.active]

    @property
    def promised(self) -> int:
        """Bytes of keys and values that running requests hold or may come to need, and soft prompts take."""
        kept = {*self.prefixes(), *(job.prefix for job in self.running if job.prefix is not None)}
        return sum(self._held(job) for job in self.running) + sum(prefix.bytes for prefix in kept)

    def _held(self, job: Job) -> int:
        prompt, new = _prompt(job.request, job.prefix), job.request.params.max_tokens
        if job.shares_prompt:
            return self.bytes_of(prompt + new * len(job.active))
        # The last sample goes on in the prompt's own place; until then that is one more.
        own = self.bytes_of(prompt) if job.samples or not job.active else 0
        return self.bytes_of(prompt + new) * len(job.active) + own

    def next_to_read(self) -> Job | None:
        """The job whose prompt is to be read now: one that is being read, or the first that fits."""
        for job in self.running:
            if not job.is_read:
                return job
        if not self.waiting or len(self.active) >= self.limits.max_sequences:
            return None
        job = self.waiting[0]
        if self.promised + self._needed(job.request, job.prefix) > self.limits.memory_bytes:
            return None
        self.running.append(self.waiting.popleft())
        return job

    def next_to_open(self) -> tuple[Job, Sample] | None:
        """A sample of a prompt that is read, when there is room for it. Where none is open, one is though the
        first copy of a prompt beside the prompt itself be too much: else nothing would ever go on."""
        if len(self.active) >= self.limits.max_sequences:
            return None
        for job in self.running:
            if job.is_read and job.samples:
                prompt = _prompt(job.request, job.prefix)
                room = self.bytes_of(prompt + job.request.params.max_tokens)
                if job.shares_prompt or len(job.samples) == 1:
                    room -= self.bytes_of(prompt)
                if self.promised + room > self.limits.memory_bytes and self.active:
                    return None
                return job, job.samples.popleft()
        return None

    def take_out(self, job: Job) -> None:
        """Forget a job, wherever it stands."""
        if job in self.running:
            self.running.remove(job)
        else:
            self.waiting.remove(job)


def _prompt(request: EngineRequest, prefix: PlacedPrefix[Any] | None) -> int:
    """Tokens that a copy of a prompt takes: with those of a soft prompt that is copied along."""
    return len(request.prompt) + (prefix.columns if prefix else 0)
