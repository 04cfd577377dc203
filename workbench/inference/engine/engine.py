"""The engine's loop: take what came, read a piece of a prompt, take one step for everybody, tell."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import torch

from workbench.errors import ModelError, ServerError
from workbench.inference.engine.grammar import Grammars
from workbench.inference.engine.placed_prefix import PlacedPrefix
from workbench.inference.engine.requests import (
    Ended,
    EngineRequest,
    Event,
    Listener,
    PromptRead,
    QueueFull,
    RequestRefused,
    TokenInfo,
)
from workbench.inference.engine.runner import Runner
from workbench.inference.engine.sampling import describe, draw
from workbench.inference.engine.scheduler import Job, Scheduler
from workbench.inference.engine.sequence import Sample
from workbench.inference.engine.soft_prompts import SoftPrompts
from workbench.inference.engine.tasks import Tasks
from workbench.inference.limits import Limits

log = logging.getLogger(__name__)


@dataclass
class Counters:
    """What the engine has done since it started."""

    requests: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    steps: int = 0


class Ticket:
    """A request that was taken; `cancel` ends it, from any thread."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self._engine = engine
        self._job = job

    def cancel(self) -> None:
        """End the request before its next token; it hears `Ended`. Nothing when it has ended."""
        self._job.is_cancelled = True
        self._engine.wake()


class Engine:
    """Serves many requests with one model, in a thread of its own.

    `decode` turns token ids into text, given whether special tokens are left out; `eos` are the tokens that
    end an answer.
    """

    def __init__(self, runner: Runner[Any, Any], tokenizer: Any, eos: frozenset[int], limits: Limits) -> None:
        self.runner = runner
        self.limits = limits
        self.counters = Counters()
        self._tokenizer = tokenizer
        self._eos = eos
        self._grammars = Grammars(tokenizer, runner.vocabulary, eos)
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._tasks = Tasks(self.wake)
        self.soft_prompts = SoftPrompts(runner, limits.memory_bytes, self._tasks.run)
        self._scheduler = Scheduler(
            limits,
            runner.room,
            runner.bytes_per_token,
            self.soft_prompts.placed,
            getattr(runner, "bytes_of", None),
        )
        self._closing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._tasks.begin()
        self._thread.start()

    def close(self) -> None:
        """End all requests, and the thread."""
        self._closing = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Let the loop look around."""
        self._inbox.put(None)

    @property
    def load(self) -> dict[str, int]:
        """How many sequences are active and requests waiting, and the bytes that are held or promised."""
        scheduler = self._scheduler
        return {
            "active": len(scheduler.active),
            "running": len(scheduler.running),
            "waiting": len(scheduler.waiting) + self._inbox.qsize(),
            "promised_bytes": scheduler.promised,
            "cached_bytes": self.runner.cached_bytes(),
        }

    def read_grammar(self, grammar: str) -> None:
        """Make a grammar ready, which takes a moment. Raises `RequestRefused` when it cannot be used."""
        self._grammars.start(grammar)

    def submit(self, request: EngineRequest, listener: Listener) -> Ticket:
        """Take a request; `listener` hears of it from the engine's thread.

        Raises `RequestRefused` for what can never be served, and `QueueFull`.
        """
        with self._lock:
            try:
                if self._closing:
                    raise QueueFull("the engine is closing")
                prefix = self.prefix_of(request.soft_prompt)
                self._scheduler.check(request, self._inbox.qsize(), prefix)
                samples = [
                    Sample(
                        request,
                        index,
                        self._decode_with(request.skip_special),
                        self._eos,
                        self._grammars.start(request.grammar) if request.grammar is not None else None,
                    )
                    for index in range(request.n)
                ]
            except (RequestRefused, QueueFull):
                self.counters.refused += 1
                raise
            job = Job(request, listener, deque(samples), prefix)
            self._inbox.put(job)
        return Ticket(self, job)

    def prefix_of(self, name: str | None) -> PlacedPrefix[Any] | None:
        """What stands before the prompts of a request that names this soft prompt, or none.

        Raises `RequestRefused` for a name that is none, and for a second soft prompt.
        """
        fixed: PlacedPrefix[Any] | None = self.runner.prefix
        if name is None:
            return fixed
        if fixed is not None:
            raise RequestRefused(
                f"two soft prompts for one request: the model was started with one before every prompt, and "
                f"“{name}” was asked for",
                where="soft_prompt",
                hint="start the engine with the model alone",
            )
        return self.soft_prompts.get(name).prefix

    def _decode_with(self, skip_special: bool) -> Any:
        tokenizer = self._tokenizer

        def decode(ids: list[int]) -> str:
            text: str = tokenizer.decode(
                ids, skip_special_tokens=skip_special, clean_up_tokenization_spaces=False
            )
            return text

        return decode

    def _run(self) -> None:
        with torch.inference_mode():
            while not self._closing:
                try:
                    self._take_new(wait=self._scheduler.is_idle)
                    self._tasks.work()
                    self._step()
                except Exception as error:
                    # Whatever a model does wrong, nobody waits for ever: all who are served now are told.
                    log.exception("a step failed")
                    self._fail_all(_explain(error))
            self._tasks.end()
            self._fail_all(ServerError("the engine was closed"))

    def _take_new(self, wait: bool) -> None:
        """Move what came into the queue; where there is nothing to do, wait for it."""
        while True:
            try:
                job = self._inbox.get(block=wait)
            except queue.Empty:
                return
            if job is not None:
                self._scheduler.waiting.append(job)
                self.counters.requests += 1
            wait = False

    def _step(self) -> None:
        for job in [*self._scheduler.waiting, *self._scheduler.running]:
            if job.is_cancelled:
                self.counters.cancelled += 1
                self._end(job, Ended(cancelled=True))
        self._read()
        self._open()
        self._decode()
        for job in list(self._scheduler.running):
            if job.is_done:
                self.counters.finished += 1
                self._end(job, Ended())
            else:
                _tell(job)

    def _read(self) -> None:
        """Read one chunk of one prompt."""
        job = self._scheduler.next_to_read()
        if job is None:
            return
        request = job.request
        if job.prefill is None:
            self.runner.shrink(max(0, self.limits.memory_bytes - self._scheduler.promised))
            try:
                job.prefill = self.runner.begin(
                    request.prompt,
                    exact=request.params.seed is not None,
                    all_logits=request.prompt_logprobs,
                    prefix=job.prefix,
                    samples=request.n,
                )
            except ModelError as error:
                # What a model cannot do for one request is no matter of the others.
                self.counters.failed += 1
                self._end(job, Ended(RequestRefused(error.message, hint=error.hint)))
                return
            self.counters.prompt_tokens += len(request.prompt)
            self.counters.cached_tokens += job.prefill.cached
        logits = self.runner.advance(job.prefill)
        if request.prompt_logprobs and logits is not None:
            job.prompt_tokens += _describe_prompt(request, logits, len(job.prompt_tokens))
            logits = logits[-1] if job.prefill.remaining == 0 else None
        if logits is not None:
            job.logits = logits
            job.events.append(PromptRead(job.prefill.cached, tuple(job.prompt_tokens)))

    def _open(self) -> None:
        """Open samples while there is room, and draw their first tokens."""
        while (found := self._scheduler.next_to_open()) is not None:
            job, sample = found
            assert job.prefill is not None and job.logits is not None
            alone = sample.is_seeded and not self.runner.batch_invariant
            job.active.append(sample)
            # It may come to need what is kept for requests to come.
            self.runner.shrink(max(0, self.limits.memory_bytes - self._scheduler.promised))
            sample.handle = self.runner.open(job.prefill, job.request.params.max_tokens, alone=alone)
            if not job.samples:
                self.runner.forget(job.prefill)
            self._draw([(job, sample)], job.logits[None].clone())

    def _decode(self) -> None:
        """One step for every active sample."""
        active = [(job, sample) for job in self._scheduler.running for sample in job.active]
        if not active:
            return
        self.counters.steps += 1
        if self.runner.batch_invariant:
            groups = [active]
        else:
            groups = [[entry] for entry in active if entry[1].is_seeded]
            if together := [entry for entry in active if not entry[1].is_seeded]:
                groups.append(together)
        for group in groups:
            handles = [sample.handle for _, sample in group if sample.handle is not None]
            self._draw(group, self.runner.decode(handles, [sample.ids[-1] for _, sample in group]))

    def _draw(self, group: Many[tuple[Job, Sample]], logits: torch.Tensor) -> None:
        """Draw the next token of each; `logits` [B, V] may be changed."""
        wanted = [job.request.logprobs for job, _ in group]
        raw = logits.clone() if any(number is not None for number in wanted) else logits
        for row, (_, sample) in enumerate(group):
            if sample.sampler.adjusts():
                sample.sampler.adjust(logits[row])
            if sample.grammar is not None:
                sample.grammar.mask(logits[row])
        tokens = draw(logits, [sample.sampler for _, sample in group])
        infos = [TokenInfo(token) for token in tokens]
        for number in {number for number in wanted if number is not None}:
            rows = [row for row, asked in enumerate(wanted) if asked == number]
            told = describe(raw[rows], [tokens[row] for row in rows], number)
            for row, info in zip(rows, told, strict=True):
                infos[row] = info
        self.counters.generated_tokens += len(tokens)
        for (job, sample), info in zip(group, infos, strict=True):
            job.events.append(sample.accept(info))
            if sample.finish_reason is not None:
                self._finish(job, sample, keep=True)

    def _finish(self, job: Job, sample: Sample, *, keep: bool) -> None:
        job.active.remove(sample)
        if sample.handle is not None:
            # The last token drawn was never read by the model.
            ids = [*job.request.prompt, *sample.ids[:-1]] if keep else None
            self.runner.close(sample.handle, ids)
            sample.handle = None

    def _end(self, job: Job, event: Event) -> None:
        """Free all that a job holds, and tell it that this was all."""
        unopened = any(sample.handle is None for sample in job.active)
        for sample in list(job.active):
            self._finish(job, sample, keep=False)
        was_opened = job.is_read and not job.samples and not unopened
        if job.prefill is not None and not was_opened:
            self.runner.forget(job.prefill)
        job.samples.clear()
        self._scheduler.take_out(job)
        job.events.append(event)
        _tell(job)

    def _fail_all(self, error: ServerError) -> None:
        """Tell all whom the error may concern; who only waits is served later, unless all is over."""
        jobs = list(self._scheduler.running)
        if self._closing:
            self._take_new(wait=False)
            jobs += self._scheduler.waiting
        for job in jobs:
            self.counters.failed += 1
            try:
                self._end(job, Ended(error))
            except Exception:
                log.exception("a failed request could not be ended cleanly")
                self._scheduler.take_out(job)


def _tell(job: Job) -> None:
    if job.events:
        events, job.events = job.events, []
        try:
            job.listener(events)
        except Exception:
            # A client that is gone must not take the others with it.
            log.exception("a listener failed")
            job.is_cancelled = True


def _describe_prompt(request: EngineRequest, logits: torch.Tensor, known: int) -> list[TokenInfo]:
    """What the prompt's tokens were predicted with; `logits` [n, V] are those after tokens `known`…"""
    told = [TokenInfo(request.prompt[0])] if known == 0 else []
    done = known - 1 + len(told)
    following = list(request.prompt[done + 1 : done + 1 + len(logits)])
    if following:
        told += describe(logits[: len(following)], following, request.logprobs or 0)
    return told


def _explain(error: Exception) -> ServerError:
    if isinstance(error, ServerError):
        return error
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in first:
        return ServerError(
            "memory ran out", hint="start the engine with less --kv-memory or fewer --max-sequences"
        )
    return ServerError(f"the model failed: {first}", hint="the engine's log has the whole story")
