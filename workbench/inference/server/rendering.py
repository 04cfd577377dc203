"""Conversations to token ids, through the model's own chat template."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from workbench.inference.engine.requests import RequestRefused
from workbench.inference.server.tool_format import ToolFormat, detect, instructions


class Renderer:
    """Renders with one tokenizer. Its chat template is the model's author's: what it refuses, the client
    is told in its words."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @property
    def has_template(self) -> bool:
        """Whether the model knows conversations at all."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    @cached_property
    def tool_format(self) -> ToolFormat:
        """How this model writes calls of tools."""

        def render(messages: Any, tools: Any, add_generation_prompt: bool) -> str:
            text: str = self.tokenizer.apply_chat_template(
                messages, tools=tools, tokenize=False, add_generation_prompt=add_generation_prompt
            )
            return text

        return detect(render)

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """Special tokens by their text."""
        known = self.tokenizer.all_special_tokens
        return {token: int(self.tokenizer.convert_tokens_to_ids(token)) for token in known}

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[dict[str, Any]] = (),
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> str:
        """The text that a model sees of a conversation. Raises `RequestRefused`."""
        if not self.has_template:
            raise RequestRefused(
                "this model has no chat template: it continues texts and does not hold conversations",
                where="messages",
                hint="send the text to /v1/completions",
            )
        plain = [_plain(message, place) for place, message in enumerate(messages)]
        if tools and not self.tool_format.in_template:
            plain = _with_instructions(plain, instructions(tools, self.tool_format), self.tool_format)
        if continue_final_message and (not plain or plain[-1]["role"] != "assistant"):
            raise RequestRefused(
                "only an assistant's message can be continued", where="continue_final_message"
            )
        try:
            text: str = self.tokenizer.apply_chat_template(
                plain,
                tools=list(tools) if tools and self.tool_format.in_template else None,
                tokenize=False,
                add_generation_prompt=add_generation_prompt and not continue_final_message,
                continue_final_message=continue_final_message,
                **(options or {}),
            )
        except Exception as error:
            # Templates raise whatever Jinja and their authors think of.
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RequestRefused(
                f"the model's chat template refuses this conversation: {first}", where="messages"
            ) from None
        return text

    def tokens(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
        return ids


def _plain(message: Mapping[str, Any], place: int) -> dict[str, Any]:
    """A message as templates expect it: content a text, arguments of calls an object."""
    role = message.get("role")
    if not isinstance(role, str):
        raise RequestRefused("a message has no role", where=f"messages.{place}.role")
    role = {"developer": "system", "function": "tool"}.get(role, role)
    plain: dict[str, Any] = {**message, "role": role, "content": _text(message.get("content"), place)}
    if calls := message.get("tool_calls"):
        plain["tool_calls"] = [_plain_call(call) for call in calls]
    else:
        plain.pop("tool_calls", None)
    return plain


def _text(content: Any, place: int) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    where = f"messages.{place}.content"
    if not isinstance(content, list):
        raise RequestRefused("the content is neither a text nor a list of parts", where=where)
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise RequestRefused(
                f"a part of type “{kind}” is not text; this model only reads text", where=where
            )
    return "".join(str(part.get("text", "")) for part in content)


def _plain_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call.get("function") or {})
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        # What was malformed when the model wrote it is shown to it as it was.
        with contextlib.suppress(ValueError):
            function["arguments"] = json.loads(arguments or "{}")
    return {**call, "type": "function", "function": function}


def _with_instructions(messages: list[dict[str, Any]], told: str, form: ToolFormat) -> list[dict[str, Any]]:
    """A conversation with tools for a template that knows none: they are told of in the system's message,
    calls are written out, and results come from the user."""
    first = messages[0] if messages and messages[0]["role"] == "system" else None
    system = f"{first['content']}\n\n{told}" if first else told
    changed: list[dict[str, Any]] = [{"role": "system", "content": system}]
    for message in messages[1 if first else 0 :]:
        if calls := message.get("tool_calls"):
            written = "\n".join(
                form.write(call["function"].get("name", ""), call["function"].get("arguments"))
                for call in calls
            )
            content = f"{message['content']}\n{written}" if message["content"] else written
            changed.append({"role": "assistant", "content": content})
        elif message["role"] == "tool":
            content = f"<tool_response>\n{message['content']}\n</tool_response>"
            if changed[-1]["role"] == "user" and changed[-1].get("is_result"):
                changed[-1]["content"] += f"\n{content}"
            else:
                changed.append({"role": "user", "content": content, "is_result": True})
        else:
            changed.append(message)
    return changed
