"""Records of conversations, and of prompts with completions: checked, and brought into one shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from workbench.data.readers.records import kind_of
from workbench.data.records.reading import Record
from workbench.data.records.texts import BlankText, Checked, held, sound, text_in
from workbench.errors import DataError

ROLES = ("system", "developer", "user", "assistant", "tool")


def sft(record: Record, *, labelled: bool = True) -> Checked:
    """`prompt` and `completion` where both are text; else `messages`, each a role, its content and its calls
    of tools, `first`, the number of the first message that may be predicted, and `tools`.

    A prompt that is text is the user's, a completion that is text the assistant's. Raises `DataError`, and
    `BlankText` where the assistant says nothing.
    """
    values = record.values
    if "messages" in values:
        messages = messages_in(values["messages"], "messages", record)
        return _conversation(messages, 0, record)
    if isinstance(values.get("prompt"), str) and isinstance(values.get("completion"), str):
        return {"prompt": text_in(record, "prompt"), "completion": text_in(record, "completion")}
    prompt = _side(record, "prompt", "user")
    return _conversation([*prompt, *_side(record, "completion", "assistant")], len(prompt), record)


def _side(record: Record, column: str, role: str) -> list[dict[str, Any]]:
    value = record.values.get(column)
    if isinstance(value, list):
        return messages_in(value, column, record)
    return [{"role": role, "content": text_in(record, column)}]


def _conversation(messages: list[dict[str, Any]], first: int, record: Record) -> Checked:
    said = (message for message in messages[first:] if message["role"] == "assistant")
    if not any(message["content"].strip() or message.get("tool_calls") for message in said):
        raise BlankText("the assistant says nothing", where=record.where, hint="leave such records out")
    return {"messages": messages, "first": first, "tools": tools_in(record)}


def messages_in(value: Any, column: str, record: Record) -> list[dict[str, Any]]:
    """The messages of a column, checked. Raises `DataError`."""
    if not isinstance(value, list):
        raise DataError(f"column “{column}” holds {held(record, column)}, not messages", where=record.where)
    return [_turn(message, number, record.where) for number, message in enumerate(value, 1)]


def _turn(message: Any, number: int, where: str) -> dict[str, Any]:
    """One message; what tables filled up with nothing is taken away."""
    if not isinstance(message, Mapping):
        raise DataError(
            f"message {number} is a {kind_of(message)}",
            where=where,
            hint='a message is a mapping: {"role": "user", "content": "…"}',
        )
    kept = {name: value for name, value in message.items() if value is not None}
    if kept.get("role") not in ROLES:
        raise DataError(
            f"message {number} is from “{kept.get('role', 'nobody')}”",
            where=where,
            hint=f"a role is one of {', '.join(ROLES)}",
        )
    kept["content"] = _content(kept.get("content", ""), number, where)
    if calls := kept.pop("tool_calls", None):
        if not isinstance(calls, list):
            raise DataError(
                f"the tool_calls of message {number} are a {kind_of(calls)}, not a list", where=where
            )
        kept["tool_calls"] = [_call(call, number, where) for call in calls]
    return kept


def _content(value: Any, number: int, where: str) -> str:
    """Text, or a list of parts that are texts."""
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        if any(part.get("type", "text") != "text" or not isinstance(part.get("text"), str) for part in value):
            raise DataError(f"message {number} holds other parts than texts", where=where)
        value = "".join(part["text"] for part in value)
    if not isinstance(value, str):
        raise DataError(f"the content of message {number} is a {kind_of(value)}, not text", where=where)
    return sound(value)


def _call(call: Any, number: int, where: str) -> dict[str, Any]:
    """A call of a tool as templates take it: its arguments a mapping, which OpenAI writes as text."""
    called = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(called, Mapping) or not isinstance(called.get("name"), str):
        raise DataError(
            f"message {number} calls something that is no tool",
            where=where,
            hint='a call is a mapping: {"function": {"name": "…", "arguments": {}}}',
        )
    arguments = called.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments or "{}")
        except orjson.JSONDecodeError:
            raise DataError(
                f"the arguments of “{called['name']}” in message {number} are no JSON", where=where
            ) from None
    named = {key: value for key, value in call.items() if key not in ("function", "name", "arguments")}
    return {"type": "function", **named, "function": {"name": called["name"], "arguments": arguments}}


def tools_in(record: Record) -> list[Any]:
    """What tools the record offers: a list, or its JSON, as flat tables hold it."""
    value = record.values.get("tools")
    if isinstance(value, str) and value.strip():
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise DataError("column “tools” is no JSON", where=record.where) from None
    if not value:
        return []
    if not isinstance(value, list):
        raise DataError(f"column “tools” holds {held(record, 'tools')}, not a list", where=record.where)
    return value
