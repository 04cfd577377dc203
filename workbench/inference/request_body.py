"""A request as the OpenAI protocol writes it, and what of it a server need not take. No torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from workbench.inference.generation import Request

OWN_FIELDS = ("top_k", "min_p", "repetition_penalty")
"""What the protocol lacks and vLLM, llama.cpp and our engine have."""


def request_body(request: Request, model: str, refused: Collection[str] = ()) -> dict[str, Any]:
    """The arguments of the official client's `create`, without the fields that the server refused."""
    sampling, is_chat = request.sampling, request.prompt is None
    fields: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "n": request.n if request.n > 1 else None,
        "stream_options": {"include_usage": True},
    }
    own: dict[str, Any] = {name: getattr(sampling, name) for name in OWN_FIELDS}
    if is_chat:
        fields["messages"] = list(request.messages)
        if request.tools:
            fields |= {"tools": list(request.tools), "tool_choice": request.tool_choice}
    else:
        fields["prompt"] = request.prompt
    if request.logprobs is not None and "logprobs" not in refused:
        fields["logprobs"] = True if is_chat else request.logprobs
        if is_chat and request.logprobs:
            fields["top_logprobs"] = request.logprobs
    if request.response_format is not None:
        (fields if is_chat else own)["response_format"] = dict(request.response_format)
    body = {"model": model, "stream": True, **_kept(fields, refused)}
    own = _kept(own, refused)
    return {**body, "extra_body": own} if own else body


def _kept(fields: dict[str, Any], refused: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and name not in refused}


def optional_fields(request: Request, refused: Collection[str]) -> list[str]:
    """What of a request could be left out if the server refuses it."""
    sampling = request.sampling
    fields = [name for name in (*OWN_FIELDS, "seed") if getattr(sampling, name) is not None]
    if request.logprobs is not None:
        fields.append("logprobs")
    if request.n > 1:
        fields.append("n")
    return [field for field in (*fields, "stream_options") if field not in refused]
