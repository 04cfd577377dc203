"""The trace in words: every request, demonstration, call, result and vote, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.tui.playground.answer_view import message_lines
from workbench.tui.playground.column import Column
from workbench.tui.playground.passages import scores_of
from workbench.tui.playground.stream_lines import lines_of
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, plain

if TYPE_CHECKING:
    from workbench.prompting.technique import Step

NOTHING = [plain("Nothing was sent yet.", "dim")]
LONGEST_TITLE = 160
KINDS = {"tool_call": "call", "tool_result": "result", "demonstrations": "examples"}


def step_lines(column: Column) -> list[Line]:
    """All steps of a column."""
    if not column.steps:
        return [] if column.busy else NOTHING
    return [line for step in column.steps for line in _lines_of(step)]


def _lines_of(step: Step) -> list[Line]:
    chain = f" #{step.chain + 1}" if step.chain is not None else ""
    kind = KINDS.get(step.kind, step.kind)
    seconds = f"  {step.seconds:.2f} s" if step.seconds else ""
    head: Line = (
        (f"{kind}{chain}  ", "key"),
        (reveal_control(step.title[:LONGEST_TITLE]), "title"),
        (seconds, "dim"),
    )
    detail = _detail(step.kind, step.content)
    return [head, *detail, ()] if detail else [head]


def _detail(kind: str, content: Mapping[str, Any]) -> list[Line]:
    match kind:
        case "request":
            return _request(content)
        case "tool_call":
            return lines_of([(str(content.get("arguments")), "")])
        case "tool_result":
            status = str(content.get("status"))
            text = str(content.get("text"))
            return lines_of([(text, "" if status == "ok" else "warn")])
        case "passages":
            return [
                (
                    (f"  [{entry['number']}] {reveal_control(entry['source'])}  ", ""),
                    (scores_of(entry), "dim"),
                )
                for entry in content.get("passages", ())
            ]
        case "demonstrations":
            return _demonstrations(content)
        case "note" if content.get("problem"):
            return lines_of([(str(content["problem"]), "warn")])
    return []


def _request(content: Mapping[str, Any]) -> list[Line]:
    cached = f" ({content['cached_tokens']:,} cached)" if content.get("cached_tokens") else ""
    counts = f"{content.get('prompt_tokens', 0):,} tokens read{cached}"
    counts += f", {content.get('completion_tokens', 0):,} written"
    if content.get("n", 1) > 1:
        counts += f", {content['n']} answers at once"
    lines: list[Line] = [plain(f"  {counts}", "dim")]
    if content.get("prompt"):
        lines += lines_of([(str(content["prompt"]), "key")])
    for message in content.get("messages", ()):
        lines += message_lines(message)
    for completion in content.get("completions", ()):
        lines += message_lines({"role": "assistant", "content": "", **_said(completion)})
    return lines


def _said(completion: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": completion.get("text"), "tool_calls": completion.get("tool_calls")}


def _demonstrations(content: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for name, value in content.items():
        if isinstance(value, (list, tuple)):
            for number, entry in enumerate(value, 1):
                lines += lines_of(
                    [(f"  {number}. {entry if isinstance(entry, str) else _short(entry)}", "dim")]
                )
        else:
            lines.append(plain(reveal_control(f"  {name}: {value}"), "dim"))
    return lines


def _short(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return str(entry)
    return "\n     ".join(f"{name}: {value}" for name, value in entry.items())
