"""The two ways in which a model is told of tools and calls them: the server's, and plain text.

With the server's, `tools` go with the request and calls come back as such. In plain text, for servers and
models without that, the tools stand in the system message, and the model writes a call as

    <tool_call>{"name": "calculator", "arguments": {"expression": "2 + 2"}}</tool_call>
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from workbench.inference.generation import Completion, Message, Request, ToolCall
from workbench.prompting.tools.tool import Result

Tools = tuple[dict[str, Any], ...]

INSTRUCTIONS = """You can call these functions, one JSON description on each line:
{tools}
To call one, write a line of this form, with its name and arguments, and stop there:
<tool_call>{{"name": "NAME", "arguments": {{"ARGUMENT": "VALUE"}}}}</tool_call>
What it returns comes back between <tool_response> and </tool_response>. Then answer, or call again."""

_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)


class ToolProtocol(Protocol):
    """How requests offer tools, answers hold calls, and results are given back."""

    def offer(self, request: Request, tools: Tools) -> Request:
        """The request with the tools in it."""
        ...

    def calls(self, completion: Completion) -> list[ToolCall]:
        """The calls in an answer."""
        ...

    def said(self, completion: Completion, calls: Sequence[ToolCall]) -> Message:
        """The answer as the model's turn of the conversation that goes on."""
        ...

    def returned(self, calls: Sequence[ToolCall], results: Sequence[Result]) -> list[Message]:
        """The results as the next turn."""
        ...


class NativeProtocol:
    """The server's own, in the fields that the OpenAI protocol has for it."""

    def offer(self, request: Request, tools: Tools) -> Request:
        """The request with its `tools`."""
        return replace(request, tools=tools)

    def calls(self, completion: Completion) -> list[ToolCall]:
        """The answer's own, each with an id that no other in it has."""
        seen: set[str] = set()
        calls = []
        for number, call in enumerate(completion.tool_calls):
            name = call.id if call.id and call.id not in seen else f"call_{number}"
            seen.add(name)
            calls.append(replace(call, id=name))
        return calls

    def said(self, completion: Completion, calls: Sequence[ToolCall]) -> Message:
        """With arguments that are no JSON left out: servers refuse a conversation that holds any."""
        sendable = [replace(call, arguments=_object_or_nothing(call.arguments)) for call in calls]
        return replace(completion, tool_calls=sendable).as_message()

    def returned(self, calls: Sequence[ToolCall], results: Sequence[Result]) -> list[Message]:
        """One message a result."""
        return [
            {"role": "tool", "tool_call_id": call.id, "content": result.text}
            for call, result in zip(calls, results, strict=True)
        ]


class TextProtocol:
    """Plain text, for servers without tools."""

    def offer(self, request: Request, tools: Tools) -> Request:
        """The request with the tools described in its system message."""
        lines = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
        text = INSTRUCTIONS.format(tools=lines)
        first, *rest = request.messages
        if first["role"] == "system":
            text = f"{first['content']}\n\n{text}"
        else:
            rest = [first, *rest]
        return replace(request, messages=({"role": "system", "content": text}, *rest))

    def calls(self, completion: Completion) -> list[ToolCall]:
        """Whatever stands between the marks; a call with no name where that is no call."""
        found = enumerate(_CALL.finditer(completion.text))
        return [_parsed(f"call_{number}", match[1].strip()) for number, match in found]

    def said(self, completion: Completion, calls: Sequence[ToolCall]) -> Message:
        """Word for word."""
        return {"role": "assistant", "content": completion.text}

    def returned(self, calls: Sequence[ToolCall], results: Sequence[Result]) -> list[Message]:
        """One message for all, written so that no result can end its own mark."""
        parts = []
        for call, result in zip(calls, results, strict=True):
            value = json.dumps({"name": call.name, "content": result.text}, ensure_ascii=False)
            parts.append("<tool_response>" + value.replace("<", "\\u003c") + "</tool_response>")
        return [{"role": "user", "content": "\n".join(parts)}]


def _parsed(identity: str, text: str) -> ToolCall:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ToolCall(identity, "", text)
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return ToolCall(identity, "", text)
    arguments = value.get("arguments", {})
    # Some models write them as the protocol has them: JSON in a string.
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(identity, value["name"], written)


def _object_or_nothing(text: str) -> str:
    try:
        return text if isinstance(json.loads(text), dict) else "{}"
    except (ValueError, RecursionError):
        return "{}"
