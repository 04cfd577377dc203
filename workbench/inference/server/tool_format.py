"""How a model writes the calls of tools: found from its chat template, or a common form where it has none.

A template shows how it writes a call when it is given one. So a call with a name that cannot be missed is
rendered, and what stands around its JSON, and the keys in it, are the model's format.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

PROBE_NAME, PROBE_KEY, PROBE_VALUE = "probe_function", "probe_argument", "probe value"
USER = {"role": "user", "content": "Probe."}
TOOLS = [
    {
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
]
CALLS = [
    {
        "type": "function",
        "id": f"call00{number}00",
        "function": {"name": PROBE_NAME, "arguments": {PROBE_KEY: PROBE_VALUE}},
    }
    for number in (1, 2)
]


def _answer(content: str = "", calls: Sequence[Any] = ()) -> dict[str, Any]:
    answer: dict[str, Any] = {"role": "assistant", "content": content}
    return {**answer, "tool_calls": list(calls)} if calls else answer


@dataclass(frozen=True)
class ToolFormat:
    """A call is `begin`, a JSON object with two keys, `end`. `between` stands between two calls; it is empty
    where an answer may have only one."""

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
    before = render([USER], TOOLS, True)
    if PROBE_NAME not in before:
        return None
    # Some templates write an answer otherwise when nothing follows it, others let no question follow a call.
    for following in ([USER], []):
        with contextlib.suppress(Exception):
            if found := _framed(render, before, following):
                return found
    return None


def _framed(render: Any, before: str, following: list[Any]) -> ToolFormat | None:
    """The format, from an answer with a call and one without."""
    call = render([USER, _answer(calls=CALLS[:1]), *following], TOOLS, False)
    plain = render([USER, _answer("PLAIN"), *following], TOOLS, False)
    if not (call.startswith(before) and plain.startswith(before)):
        return None
    # What follows the answer is the next turn; where that begins shows in a turn without a call.
    answer, after = call[len(before) :], plain[len(before) :].partition("PLAIN")[2]
    found = list(_objects(answer, PROBE_NAME))
    if len(found) != 1 or not answer.endswith(after):
        return None
    start, stop, content = found[0]
    names = [key for key, value in content.items() if value == PROBE_NAME]
    arguments = [key for key, value in content.items() if _is_probe(value)]
    if len(names) != 1 or len(arguments) != 1:
        return None
    begin, end = answer[:start], answer[stop : len(answer) - len(after)]
    return ToolFormat(begin, end, _between(render), names[0], arguments[0], True)


def _between(render: Any) -> str:
    """What a template writes between two calls; nothing where it takes one at a time."""
    try:
        both = render([USER, _answer(calls=CALLS)], TOOLS, False)
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
