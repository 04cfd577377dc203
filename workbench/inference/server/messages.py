"""Messages as clients send them, made into what chat templates expect."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.inference.engine.requests import RequestRefused
from workbench.inference.server.tool_format import ToolFormat

Plain = dict[str, Any]


def plain_message(message: Mapping[str, Any], place: int) -> Plain:
    """A message with its content as one text and the arguments of its calls as objects.

    Raises `RequestRefused` naming the message.
    """
    where = f"messages.{place}"
    role = message.get("role")
    if not isinstance(role, str):
        raise RequestRefused("a message has no role", where=f"{where}.role")
    role = {"developer": "system", "function": "tool"}.get(role, role)
    content = _text(message.get("content"), f"{where}.content")
    plain: Plain = {**message, "role": role, "content": content}
    calls = plain.pop("tool_calls", None)
    if calls:
        if not isinstance(calls, list):
            raise RequestRefused("the calls are not a list", where=f"{where}.tool_calls")
        plain["tool_calls"] = [_plain_call(call, f"{where}.tool_calls") for call in calls]
    return plain


def _text(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RequestRefused("the content is neither a text nor a list of parts", where=where)
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if kind != "text":
            raise RequestRefused(
                f"a part of type “{kind}” is not text; this model only reads text", where=where
            )
        if not isinstance(part.get("text"), str):
            raise RequestRefused("a part has no text", where=where)
        texts.append(part["text"])
    return "".join(texts)


def _plain_call(call: Any, where: str) -> Plain:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RequestRefused("a call has no function with a name", where=where)
    arguments = function.get("arguments")
    if arguments is None:
        arguments = {}
    elif isinstance(arguments, str):
        # What was malformed when the model wrote it is shown to it as it was.
        with contextlib.suppress(ValueError, RecursionError):
            arguments = json.loads(arguments or "{}")
    # In the order in which models write it, for many templates copy the whole.
    called = {"name": function["name"], "arguments": arguments}
    return {"id": call.get("id"), "type": "function", "function": called}


def variants(messages: Sequence[Plain], told: str, form: ToolFormat) -> Iterator[list[Plain]]:
    """A conversation in the forms in which a template may accept it, the most faithful one first.

    `told` is what the model has to be told of its tools, where its template does not do that.
    """
    if told:
        yield _with_instructions(messages, told, form, role="system")
        if messages and messages[0]["role"] == "user":
            yield _with_instructions(messages, told, form, role="user")
        return
    yield list(messages)
    if any("tool_calls" in message or "tool_call_id" in message for message in messages):
        yield [_strict(message) for message in messages]


def _strict(message: Plain) -> Plain:
    """For templates that insist on arguments that are objects, and on ids of nine letters and digits."""
    strict = dict(message)
    if "tool_call_id" in message:
        strict["tool_call_id"] = _short(message["tool_call_id"])
    if "tool_calls" in message:
        strict["tool_calls"] = [
            {**call, "id": _short(call["id"]), "function": _with_object(call["function"])}
            for call in message["tool_calls"]
        ]
    return strict


def _with_object(function: Plain) -> Plain:
    arguments = function["arguments"]
    return function if isinstance(arguments, dict) else {**function, "arguments": {"malformed": arguments}}


def _short(name: Any) -> str:
    text = str(name)
    if len(text) == 9 and text.isalnum():
        return text
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:9]


def _with_instructions(messages: Sequence[Plain], told: str, form: ToolFormat, *, role: str) -> list[Plain]:
    """A conversation with tools for a template that knows none: they are told of in the first message,
    calls are written out, and results come from the user."""
    changed: list[Plain] = []
    has_first = bool(messages) and messages[0]["role"] == role
    first = f"{messages[0]['content']}\n\n{told}" if has_first else told
    changed.append({"role": role, "content": first})
    was_result = False
    for message in messages[1 if has_first else 0 :]:
        is_result = message["role"] == "tool"
        if calls := message.get("tool_calls"):
            written = "\n".join(
                form.write(call["function"]["name"], call["function"]["arguments"]) for call in calls
            )
            content = f"{message['content']}\n{written}" if message["content"] else written
            changed.append({"role": "assistant", "content": content})
        elif is_result:
            content = f"<tool_response>\n{message['content']}\n</tool_response>"
            if was_result:
                changed[-1]["content"] += f"\n{content}"
            else:
                changed.append({"role": "user", "content": content})
        else:
            changed.append(message)
        was_result = is_result
    return changed
