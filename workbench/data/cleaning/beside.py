"""What stands beside the texts of a record: names of speakers, arguments of tool calls, other columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from workbench.data.cleaning.items import LABELS, TEXT_COLUMNS, Item

Change = Callable[[str], str]
ALL = "*"


def edit_beside(item: Item, columns: Sequence[str], change: Change) -> Iterator[str]:
    """Put every string beside the texts through a function, and yield the name of each column when it was.

    Arguments of tool calls and names of speakers always, the values of `columns` (`*`: all but texts and
    labels) as well. Numbers are looked at too: where one is changed, it becomes null, so that its column
    keeps its type, and in arguments that are JSON as text, what the function makes of it.
    """
    for column in TEXT_COLUMNS[item.kind]:
        if isinstance(item.values.get(column), list):
            _messages(item.values[column], change)
            yield column
    known = {*TEXT_COLUMNS[item.kind], LABELS.get(item.kind)}
    for column in [name for name in item.values if name not in known] if ALL in columns else columns:
        if column in item.values and column not in known:
            item.values[column] = _walked(item.values[column], change, typed=True)
            yield column


def _messages(value: list[Any], change: Change) -> None:
    """Messages, or lists of them: their `name`, and the arguments of their `tool_calls`."""
    for message in value:
        if isinstance(message, list):
            _messages(message, change)
        elif isinstance(message, dict):
            if isinstance(message.get("name"), str):
                message["name"] = change(message["name"])
            several = message.get("tool_calls")
            # What OpenAI had before is one call, and its function.
            for call in (*(several if isinstance(several, list) else ()), message.get("function_call")):
                function = call.get("function", call) if isinstance(call, dict) else None
                if isinstance(function, dict) and "arguments" in function:
                    function["arguments"] = _arguments(function["arguments"], change)


def _arguments(value: Any, change: Change) -> Any:
    """As a mapping, or the text of one in JSON, whose spelling stays where nothing is changed."""
    if not isinstance(value, str):
        return _walked(value, change, typed=True)
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return change(value)
    if not isinstance(read, (dict, list)):
        return change(value)
    made = _walked(read, change, typed=False)
    return value if made == read else json.dumps(made, ensure_ascii=False)


def _walked(value: Any, change: Change, typed: bool) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _walked(part, change, typed) for key, part in value.items()}
    if isinstance(value, list):
        return [_walked(part, change, typed) for part in value]
    # Tables with empty places have whole numbers as floats.
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if is_whole and not isinstance(value, bool):
        written = str(int(value))
        text = change(written)
        if text != written:
            return None if typed else text
    return value
