"""One request of a session: how a prompt is asked, what comes back as answers, whose fault a failure is."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from workbench.errors import ServerError
from workbench.inference.generation import Request, Response, Sampling
from workbench.prompting.ranking.jobs import Job
from workbench.store.preferences.contents import Answer, Prompt, encoded, prompt_digest

Fault = Literal["prompt", "template", "model", "passing"]

_NO_TEMPLATE = re.compile(r"chat.?template", re.IGNORECASE)
_OF_THE_REQUEST = (400, 413, 422)
_OF_THE_MODEL = (401, 403, 404)


def request_of(prompt: Prompt, job: Job, seed: int, *, continues: bool = False) -> Request:
    """A prompt as it is asked: in the model's chat template, or, of a model that only `continues` texts, as
    plain text.

    Raises `ServerError` for a conversation, or a text with a system message, that such a model is to answer.
    """
    values: dict[str, Any] = {"seed": seed_of(seed, prompt, job), **job.sampling}
    values["stop"] = tuple(values.get("stop") or ())
    sampling = Sampling(**values)
    if not continues:
        return Request(
            messages=_messages(prompt), sampling=sampling, n=len(job.samples), tools=tuple(prompt.tools or ())
        )
    if not isinstance(prompt.content, str) or prompt.system is not None or prompt.tools:
        raise ServerError(
            "it has no chat template: it continues plain texts, and this is a conversation",
            where=job.model,
            hint="give such a model prompts that are texts, without a system message",
        )
    return Request(prompt=prompt.content, sampling=sampling, n=len(job.samples))


def seed_of(seed: int, prompt: Prompt, job: Job) -> int:
    """The seed of a request, which is the same whenever it is made; each prompt and model has another."""
    words = [seed, prompt_digest(prompt), job.model, encoded(dict(job.sampling)), job.samples[0]]
    return int.from_bytes(hashlib.sha256(repr(words).encode()).digest()[:4]) >> 1


def answers_of(response: Response, job: Job) -> list[Answer]:
    """What came back; what was cut at `max_tokens` has the finish reason `length`."""
    now = time.time()
    alone = len(job.samples) == 1
    return [
        Answer(
            [completion.as_message()] if completion.tool_calls else completion.text,
            job.model,
            job.sampling,
            sample,
            completion.finish_reason,
            response.usage.completion_tokens or None if alone else None,
            now,
        )
        for sample, completion in zip(job.samples, response.completions, strict=True)
    ]


def fault_of(error: ServerError) -> Fault:
    """Whose a failure is: the `prompt`'s, that the server refuses; the model's, for it has no `template` or
    cannot be asked at all (`model`); or a `passing` one of the server or the way to it."""
    status = getattr(error.__context__, "status_code", None)
    if status in _OF_THE_REQUEST:
        return "template" if _NO_TEMPLATE.search(error.message) else "prompt"
    return "model" if status in _OF_THE_MODEL else "passing"


def _messages(prompt: Prompt) -> tuple[dict[str, Any], ...]:
    system: Sequence[Mapping[str, Any]] = (
        [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    )
    content = prompt.content
    turns = [{"role": "user", "content": content}] if isinstance(content, str) else content
    return (*map(dict, system), *map(dict, turns))
