"""Records that hold a prompt, whatever else they hold, in one shape."""

from __future__ import annotations

from typing import Any

from workbench.data.records.reading import Record
from workbench.data.records.texts import BlankText, Checked, held, text_in
from workbench.data.records.turns import messages_in, tools_in
from workbench.errors import DataError

PROMPTS = (
    "text",
    "classification",
    "regression",
    "binary_feedback",
    "ranking",
    "preference",
    "conversation",
    "prompt_completion",
    "prompt",
)
"""The kinds of records that a prompt can be taken from."""

OURS = ("prompt", "messages", "tools")


def prompt(record: Record, *, labelled: bool = True) -> Checked:
    """`prompt`, text or messages, and `tools`; or, where there is none, `text`. `columns` are all others.

    A conversation ends before its last answer, or with the question that has none. Raises `DataError`, and
    `BlankText` where nothing is asked.
    """
    values = record.values
    columns = {name: value for name, value in values.items() if name not in OURS}
    if isinstance(values.get("messages"), list):
        turns = _question(messages_in(values["messages"], "messages", record), record)
        return {"prompt": turns, "tools": tools_in(record), "columns": columns}
    if isinstance(values.get("prompt"), list):
        turns = _question(messages_in(values["prompt"], "prompt", record), record)
        return {"prompt": turns, "tools": tools_in(record), "columns": columns}
    if "prompt" in values:
        return {"prompt": text_in(record, "prompt"), "tools": tools_in(record), "columns": columns}
    if "text" in values:
        return {"text": text_in(record, "text"), "columns": columns}
    raise DataError(
        f"the record has no prompt: column “prompt” holds {held(record, 'prompt')}",
        where=record.where,
        hint="name the column that holds it: columns: {prompt: COLUMN}",
    )


def _question(messages: list[dict[str, Any]], record: Record) -> list[dict[str, Any]]:
    """A conversation up to what the assistant is to answer."""
    last = max((n for n, one in enumerate(messages) if one["role"] == "assistant"), default=len(messages))
    end = last if last == len(messages) - 1 else len(messages)
    asked = messages[:end]
    if not any(message["role"] in ("user", "tool") and message["content"].strip() for message in asked):
        raise BlankText("nothing is asked", where=record.where, hint="leave such records out")
    return asked
