"""Prompts and answers as lines, and how far an annotator is in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.store.preferences.contents import Content, Prompt
from workbench.tui.playground.stream_lines import lines_of, literal
from workbench.tui.widgets.text_lines import Line, Span, plain

LIMIT, STEP = 4_000, 4
"""Characters of an answer that are laid out at first, about 15 ms of Markdown, and how many times as many
when more is asked for, or scrolled to."""
MARKDOWN_LIMIT = 40_000
"""Characters above which Markdown is shown as it came: laying out as many takes a tenth of a second."""
PROMPT_LIMIT = 20_000
SIGNS = {"user": ("› ", "key"), "system": ("system  ", "dim"), "tool": ("← ", "dim")}


def text_of(content: Content) -> str:
    """What an answer or a prompt says: a text, or the messages of a conversation beneath each other."""
    if isinstance(content, str):
        return content
    if len(content) == 1:
        return _said(content[0])
    return "\n\n".join(f"{message.get('role', '')}: {_said(message)}" for message in content)


def _said(message: Mapping[str, Any]) -> str:
    value = message.get("content")
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        value = "\n".join(part if isinstance(part, str) else "[no text]" for part in parts)
    lines = [value if isinstance(value, str) else "" if value is None else str(value)]
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments")
            told = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            lines.append(f"→ {function.get('name')}({told})")
    return "\n".join(line for line in lines if line)


def prompt_lines(prompt: Prompt, criteria: str = "") -> list[Line]:
    """What was asked, with what came before it; `criteria` is what the session calls better."""
    lines: list[Line] = []
    if criteria:
        lines += lines_of([("better: ", "dim"), (criteria, "dim")])
    if prompt.system:
        lines += lines_of([("system  " + prompt.system, "dim")])
    if prompt.tools:
        lines.append(plain("tools   " + ", ".join(map(_tool_name, prompt.tools)), "dim"))
    if isinstance(prompt.content, str):
        return lines + _cut(prompt.content, *SIGNS["user"])
    for message in prompt.content:
        sign, role = SIGNS.get(str(message.get("role")), ("", ""))
        lines += _cut(_said(message), sign, role)
    return lines


def _cut(text: str, sign: str, role: str) -> list[Line]:
    # The question is at the end of a long text as often as at its beginning.
    if len(text) > PROMPT_LIMIT:
        half = PROMPT_LIMIT // 2
        left_out = f"\n… {len(text) - 2 * half:,} characters left out …\n"
        return lines_of([(sign + text[:half], role), (left_out, "dim"), (text[-half:], role)])
    return lines_of([(sign + text, role)])


def _tool_name(tool: Any) -> str:
    inner = tool.get("function", tool) if isinstance(tool, dict) else tool
    return literal(str(inner.get("name", "?") if isinstance(inner, dict) else inner))


def answer_lines(
    text: str,
    width: int,
    *,
    markdown: bool = True,
    limit: int = LIMIT,
    marked: list[Span] | None = None,
    cut_off: bool = False,
) -> list[Line]:
    """An answer in rows of at most `width` cells, of which `limit` characters are laid out.

    `marked` are the spans of it with what differs; they are shown as they came. `cut_off` says that the
    model was stopped at its limit.
    """
    shown = text[:limit]
    if marked is not None:
        lines = lines_of(_first(marked, limit))
    elif markdown and len(shown) <= MARKDOWN_LIMIT:
        from workbench.tui.playground.markdown_lines import markdown_lines

        lines = markdown_lines(shown.strip("\n"), width)
    else:
        lines = lines_of([(shown, "")])
    if not text.strip():
        lines = [plain("(an empty answer)" if not text else "(nothing but blanks)", "dim")]
    if len(shown) < len(text):
        lines.append(plain(f"… {len(shown):,} of {len(text):,} characters; > shows more", "warn"))
    elif cut_off:
        lines.append(plain("… cut off at its limit of tokens", "dim"))
    return lines


def _first(spans: list[Span], limit: int) -> list[Span]:
    found: list[Span] = []
    for text, role in spans:
        found.append((text[:limit], role))
        limit -= len(text)
        if limit <= 0:
            break
    return found


def place_words(rank: int | None, tied: bool) -> str:
    """The place of an answer: `best`, `2nd`, `3rd =` where it shares it."""
    if rank is None:
        return ""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(rank, "th")
    return f"{'best' if rank == 1 else f'{rank}{ending}'}{' =' if tied else ''}"
