"""How a model writes the calls of tools: found from its chat template, or a common form where it has none.

A template shows how it writes a call when it is given one. So a call with a name that cannot be missed is
rendered, and what stands around its JSON, and the keys in it, are the model's format.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from workbench.inference.generation import ToolCall

PROBE_NAME, PROBE_KEY, PROBE_VALUE = "probe_function", "probe_argument", "probe value"
PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": PROBE_NAME,
        "description": "Probe.",
        "parameters": {
            "type": "object",
            "properties": {PROBE_KEY: {"type": "string", "description": "Probe."}},
            "required": [PROBE_KEY],
        },
    },
}


@dataclass(frozen=True)
class ToolFormat:
    """A call is `begin`, a JSON object with two keys, `end`; `between` stands between two calls."""

    begin: str
    end: str
    between: str
    name_key: str
    arguments_key: str
    in_template: bool
    """Whether the chat template tells the model of its tools itself."""

    def write(self, name: str, arguments: Any) -> str:
        """A call as the model would write it."""
        return self.begin + json.dumps({self.name_key: name, self.arguments_key: arguments}) + self.end


COMMON = ToolFormat(
    "<tool_call>\n", "\n</tool_call>", "\n</tool_call>\n<tool_call>\n", "name", "arguments", False
)
"""What Hermes and Qwen models write, and many others understand."""


def detect(render: Any) -> ToolFormat:
    """The format of a model; `render(messages, tools, add_generation_prompt)` is its chat template.

    `COMMON` where the template takes no tools, or writes calls in a way that is not JSON.
    """
    try:
        return _detect(render) or COMMON
    except Exception:
        # A template may raise anything it likes at what it does not expect.
        return COMMON


def _detect(render: Any) -> ToolFormat | None:
    user = {"role": "user", "content": "Probe."}
    tools = [PROBE_TOOL]
    before = render([user], tools, True)
    if PROBE_NAME not in before:
        return None
    call = {"name": PROBE_NAME, "arguments": {PROBE_KEY: PROBE_VALUE}}
    calls = [{"type": "function", "id": f"call00{number}00", "function": dict(call)} for number in (1, 2)]
    written = render(
        [user, {"role": "assistant", "content": "", "tool_calls": calls[:1]}, user], tools, False
    )
    # What follows the answer is the next turn; where that begins shows in a turn without a call.
    plain = render([user, {"role": "assistant", "content": "PLAIN"}, user], tools, False)
    if not (written.startswith(before) and plain.startswith(before)):
        return None
    after = plain[len(before) :].partition("PLAIN")[2]
    found = list(_objects(written[len(before) :], PROBE_NAME))
    if len(found) != 1:
        return None
    start, stop, content = found[0]
    answer = written[len(before) :]
    names = [key for key, value in content.items() if value == PROBE_NAME]
    arguments = [key for key, value in content.items() if _is_probe(value)]
    if len(names) != 1 or len(arguments) != 1 or not answer.endswith(after):
        return None
    end = answer[stop : len(answer) - len(after)]
    return ToolFormat(
        answer[:start],
        end,
        _between(render, user, calls, tools) or end + answer[:start],
        names[0],
        arguments[0],
        True,
    )


def _between(render: Any, user: dict[str, Any], calls: list[Any], tools: list[Any]) -> str:
    """What a template writes between two calls; nothing where it takes one at a time."""
    try:
        both = render([user, {"role": "assistant", "content": "", "tool_calls": calls}], tools, False)
    except Exception:
        return ""
    found = list(_objects(both, PROBE_NAME))[-2:]
    return str(both[found[0][1] : found[1][0]]) if len(found) == 2 else ""


def _is_probe(value: Any) -> bool:
    return value == {PROBE_KEY: PROBE_VALUE} or (
        isinstance(value, str) and PROBE_KEY in value and PROBE_VALUE in value
    )


def _objects(text: str, name: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The outermost JSON objects in a text that have the name as a value: where they begin and end."""
    decoder, place = json.JSONDecoder(), 0
    while (place := text.find("{", place)) >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except ValueError:
            place += 1
            continue
        if isinstance(value, dict) and name in value.values():
            yield place, end, value
            place = end
        else:
            place += 1


def instructions(tools: Sequence[dict[str, Any]], form: ToolFormat) -> str:
    """What tells a model of its tools where its template does not."""
    listed = "\n".join(json.dumps(tool["function"]) for tool in tools)
    example = form.write("NAME", {"KEY": "VALUE"})
    return (
        "You can call functions. They are described here, one JSON object a line:\n"
        f"{listed}\n"
        f"To call one, write exactly this, with its name and arguments, and nothing after it:\n{example}"
    )


def parse_calls(
    text: str, form: ToolFormat, names: Sequence[str], first: int = 0
) -> tuple[str, list[ToolCall]]:
    """The text before any call, and the calls; `first` is the number of the first one's id.

    A call that is no JSON is kept as it was written, so that whoever runs tools can tell the model.
    """
    begin = form.begin.strip()
    if begin:
        place = text.find(begin)
        if place < 0:
            return text, []
        before, rest = text[:place], text[place + len(begin) :]
    elif text.lstrip().startswith(("{", "[")):
        before, rest = "", text
    else:
        return text, []
    calls = [ToolCall(_new_id(), name, arguments) for name, arguments in _calls_in(rest, form)]
    if not calls and begin:
        calls = [ToolCall(_new_id(), "", rest.removesuffix(form.end).strip())]
    if not begin and not any(call.name in names for call in calls):
        return text, []
    return before.rstrip() if calls else text, calls


def _new_id() -> str:
    return f"call_{uuid4().hex[:12]}"


def _calls_in(text: str, form: ToolFormat) -> Iterator[tuple[str, str]]:
    decoder, place = json.JSONDecoder(), 0
    while (place := text.find("{", place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, place)
        except ValueError:
            # It began like a call and is none.
            end = text.find(form.end, place) if form.end else -1
            yield "", text[place : end if end >= 0 else len(text)].strip()
            return
        if isinstance(value, dict):
            arguments = value.get(form.arguments_key, {})
            written = arguments if isinstance(arguments, str) else json.dumps(arguments)
            yield str(value.get(form.name_key, "")), written
