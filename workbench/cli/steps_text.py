"""The steps of a technique as lines for a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.cli import render

BAR = 20
LONGEST = 2_000


def step_lines(step: Mapping[str, Any]) -> list[str]:
    """A step, as it is kept: its title, and below it what it is about. Foreign text is literal."""
    chain = "" if step.get("chain") is None else f" [{step['chain']}]"
    seconds = f" {step['seconds']:.1f} s" if step.get("seconds") else ""
    kind = render.literal(str(step.get("kind", "")).replace("_", " "))
    head = f"{kind}{chain}: {render.literal(str(step.get('title', '')))}{seconds}"
    tell = _DETAILS.get(str(step.get("kind")))
    content = step.get("content")
    try:
        lines = tell(content) if tell is not None and isinstance(content, Mapping) else []
    except (KeyError, TypeError, ValueError):
        lines = [json.dumps(content, ensure_ascii=False)]
    return [head, *(f"  {line}" for text in lines for line in _literal(text))]


def _literal(text: str) -> list[str]:
    return render.literal(render.clip(text, LONGEST), keep_lines=True).splitlines() or [""]


def _request(content: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{content['prompt_tokens']} tokens read ({content['cached_tokens']} cached), "
        f"{content['completion_tokens']} written"
    ]
    if "messages" in content:
        lines += [f"{message['role']}: {message.get('content') or ''}" for message in content["messages"]]
    for completion in content["completions"]:
        calls = [
            f"{call['function']['name']} {call['function']['arguments']}" for call in completion["tool_calls"]
        ]
        lines += [f"→ {text}" for text in (completion["text"], *calls) if text]
    return lines


def _call(content: Mapping[str, Any]) -> list[str]:
    return [str(content["arguments"])]


def _result(content: Mapping[str, Any]) -> list[str]:
    return [str(content["text"])]


def _passages(content: Mapping[str, Any]) -> list[str]:
    return [json.dumps(passage, ensure_ascii=False) for passage in content["passages"]]


def _demonstrations(content: Mapping[str, Any]) -> list[str]:
    return [f"{one['id']}: {one['input']} → {one['output']}" for one in content["demonstrations"]]


def _vote(content: Mapping[str, Any]) -> list[str]:
    return [
        f"{'█' * round(BAR * vote['share'])}{'·' * (BAR - round(BAR * vote['share']))} "
        f"{vote['count']:>3}  {vote['answer']}"
        for vote in content["votes"]
    ]


def _verdict(content: Mapping[str, Any]) -> list[str]:
    lines = [f"{message['role']}: {message['content']}" for message in content["messages"]]
    return [*lines, f"→ {content['text']}"]


_DETAILS = {
    "request": _request,
    "tool_call": _call,
    "tool_result": _result,
    "passages": _passages,
    "demonstrations": _demonstrations,
    "vote": _vote,
    "verdict": _verdict,
}
