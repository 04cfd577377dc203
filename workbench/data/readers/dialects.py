"""Records as other programs write them, ShareGPT and Alpaca, turned into kinds of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.data.kinds import fits
from workbench.data.readers.records import kind_of
from workbench.errors import DataError

ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "tool": "tool",
}
"""What ShareGPT and its descendants call who speaks, and the roles of chat templates."""


def translated(values: dict[str, Any], where: str) -> dict[str, Any]:
    """A record with `messages`, `prompt` and `completion`, or a prompt with `chosen` and `rejected`, where it
    is in another program's dialect.

    One that is of a kind already stays as it is. Raises `DataError` for turns that cannot be read.
    """
    if "conversations" in values and "chosen" in values and "rejected" in values:
        return _preference(values, where)
    if fits(values):
        return values
    if "conversations" in values:
        return _share_gpt(values, where)
    if "instruction" in values and "output" in values:
        return _alpaca(values, where)
    return values


def _share_gpt(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    turns = values["conversations"]
    if not isinstance(turns, list):
        raise DataError(f"“conversations” holds a {kind_of(turns)}, not a list of turns", where=where)
    messages = [_message(turn, number, where) for number, turn in enumerate(turns, 1)]
    if isinstance(values.get("system"), str) and values["system"]:
        messages.insert(0, {"role": "system", "content": values["system"]})
    rest = {name: value for name, value in values.items() if name not in ("conversations", "system")}
    return {"messages": messages, **rest}


def _preference(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """ShareGPT's turns with two answers to them, each a turn, as LLaMA-Factory reads them."""
    answers = {
        name: _message(values[name], number, where) if isinstance(values[name], Mapping) else values[name]
        for number, name in enumerate(("chosen", "rejected"), 1)
    }
    prompt = _share_gpt({key: values[key] for key in values if key not in answers}, where)
    return {"prompt": prompt.pop("messages"), **answers, **prompt}


def _message(turn: Any, number: int, where: str) -> dict[str, str]:
    who = turn.get("from", turn.get("role")) if isinstance(turn, dict) else None
    said = turn.get("value", turn.get("content")) if isinstance(turn, dict) else None
    if not isinstance(who, str) or not isinstance(said, str):
        raise DataError(
            f"turn {number} is not a turn of a conversation",
            where=where,
            hint='a turn is a mapping: {"from": "human", "value": "…"}',
        )
    if who.lower() not in ROLES:
        raise DataError(
            f"turn {number} is from “{who}”, which is nobody known",
            where=where,
            hint=f"write one of: {', '.join(ROLES)}",
        )
    return {"role": ROLES[who.lower()], "content": said}


def _alpaca(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """With `system` or `history`, messages; else a prompt, the input below the instruction, and an answer."""
    for name in ("instruction", "input", "output", "system"):
        if not isinstance(values.get(name), (str, type(None))):
            raise DataError(f"“{name}” holds a {kind_of(values[name])}, not text", where=where)
    prompt = "\n".join(values[name] for name in ("instruction", "input") if values.get(name))
    completion = values["output"] or ""
    rest = {name: value for name, value in values.items() if name not in _ALPACA}
    before = _history(values.get("history"), where)
    if not before and not values.get("system"):
        return {"prompt": prompt, "completion": completion, **rest}
    turns = [("system", values["system"])] if values.get("system") else []
    turns += [*before, ("user", prompt), ("assistant", completion)]
    return {"messages": [{"role": role, "content": said} for role, said in turns], **rest}


_ALPACA = ("instruction", "input", "output", "system", "history")


def _history(history: Any, where: str) -> list[tuple[str, str]]:
    if not history:
        return []
    turns: list[tuple[str, str]] = []
    for pair in history if isinstance(history, (list, tuple)) else [history]:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(p, str) for p in pair):
            raise DataError(
                "“history” holds something else than pairs of texts",
                where=where,
                hint='write [["what was asked", "what was answered"], …]',
            )
        turns += [("user", pair[0]), ("assistant", pair[1])]
    return turns
