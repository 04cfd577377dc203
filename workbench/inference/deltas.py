"""Streamed chunks of the OpenAI protocol as pieces of answers. No torch."""

from __future__ import annotations

import re
from typing import Any

from workbench.inference.generation import Delta, FinishReason, TokenLogprob, ToolCall, Usage


class Calls:
    """The calls of one answer, put together from their pieces."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[str, str]] = {}

    def add(self, pieces: list[Any]) -> None:
        """Take the pieces that one chunk brought."""
        for piece in pieces:
            part = self._parts.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
            part["id"] = piece.id or part["id"]
            if piece.function is not None:
                part["name"] += piece.function.name or ""
                part["arguments"] += piece.function.arguments or ""

    def calls(self) -> list[ToolCall]:
        """The calls so far."""
        return [ToolCall(**part) for _, part in sorted(self._parts.items())]


def chat_delta(choice: Any) -> tuple[Delta, Any]:
    """What a chunk of a chat adds, and its pieces of calls."""
    tokens = choice.logprobs.content if choice.logprobs is not None else None
    logprobs = tuple(
        TokenLogprob(
            entry.token,
            entry.logprob,
            bytes(entry.bytes or entry.token.encode()),
            tuple((rival.token, rival.logprob) for rival in entry.top_logprobs or ()),
        )
        for entry in tokens or ()
    )
    delta = Delta(choice.index, _text(choice.delta.content), logprobs, _reason(choice.finish_reason))
    return delta, choice.delta.tool_calls


def completion_delta(choice: Any) -> tuple[Delta, Any]:
    """What a chunk of a completion adds."""
    told = choice.logprobs
    logprobs: tuple[TokenLogprob, ...] = ()
    if told is not None and told.tokens:
        rivals = told.top_logprobs or [None] * len(told.tokens)
        logprobs = tuple(
            TokenLogprob(token, value or 0.0, _bytes_of(token), tuple((top or {}).items()))
            for token, value, top in zip(told.tokens, told.token_logprobs or (), rivals, strict=False)
        )
    return Delta(choice.index, _text(choice.text), logprobs, _reason(choice.finish_reason)), None


def _text(given: Any) -> str:
    """The text of a chunk, perhaps none. The official client takes whatever a server sends."""
    if given is None:
        return ""
    if not isinstance(given, str):
        raise TypeError(f"a text is a {type(given).__name__}")
    return given


def _bytes_of(token: str) -> bytes:
    """The bytes of a token; a part of a character is named by them, as in `bytes:\\xe2`."""
    if _PARTS.fullmatch(token):
        return bytes.fromhex(token.removeprefix("bytes:").replace("\\x", ""))
    return token.encode(errors="replace")


_PARTS = re.compile(r"bytes:(\\x[0-9a-f]{2})+")


def _reason(given: str | None) -> FinishReason | None:
    if given is None:
        return None
    known: dict[str, FinishReason] = {"length": "length", "tool_calls": "tool_calls"}
    return known.get(given, "stop")


def usage_of(told: Any) -> Usage | None:
    """The tokens a server counted."""
    if told is None:
        return None
    details = getattr(told, "prompt_tokens_details", None)
    cached = getattr(details, "cached_tokens", None) or 0
    return Usage(told.prompt_tokens or 0, told.completion_tokens or 0, cached)
