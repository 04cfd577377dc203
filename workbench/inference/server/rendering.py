"""Conversations to token ids, through the model's own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from workbench.inference.engine.requests import RequestRefused
from workbench.inference.server.messages import plain_message, variants
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
        added = self.tokenizer.added_tokens_decoder
        return {str(token): int(number) for number, token in added.items() if token.special}

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
        if options and "chat_template" in options:
            raise RequestRefused(
                "a chat template cannot be sent along", where="chat_template_kwargs.chat_template"
            )
        plain = [plain_message(message, place) for place, message in enumerate(messages)]
        if continue_final_message and (not plain or plain[-1]["role"] != "assistant"):
            raise RequestRefused(
                "only an assistant's message can be continued", where="continue_final_message"
            )
        by_template = bool(tools) and self.tool_format.in_template
        told = instructions(tools, self.tool_format) if tools and not by_template else ""
        first: Exception | None = None
        for variant in variants(plain, told, self.tool_format):
            try:
                text: str = self.tokenizer.apply_chat_template(
                    variant,
                    tools=list(tools) if by_template else None,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt and not continue_final_message,
                    continue_final_message=continue_final_message,
                    **(options or {}),
                )
                return text
            except Exception as error:
                # Templates raise whatever Jinja and their authors think of.
                first = first or error
        words = (str(first).strip().splitlines() or [type(first).__name__])[0]
        raise RequestRefused(
            f"the model's chat template refuses this conversation: {words}", where="messages"
        )

    def tokens(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
        return ids
