"""Conversations to token ids, through the model's own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workbench.data.spelling import Spelling, SpellingError
from workbench.data.turn_ends import end_text
from workbench.inference.engine.requests import RequestRefused
from workbench.inference.server.messages import Plain, plain_message, variants
from workbench.inference.server.tool_format import ToolFormat, detect, instructions


@dataclass(frozen=True)
class Rendered:
    """A conversation as the model sees it."""

    text: str
    ids: list[int]
    notes: tuple[str, ...] = ()
    """What whoever sent it should know."""


@dataclass(frozen=True)
class _Conversation:
    """What a chat template is given, with texts as they were sent or with placeholders in them."""

    messages: list[Plain]
    tools: list[dict[str, Any]]
    options: dict[str, Any]


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
    def end_text(self) -> str | None:
        """What ends the assistant's turn where that is no token, but text: see `turn_ends.end_text`."""
        return end_text(self.tokenizer)

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """Special tokens by their text."""
        added = self.tokenizer.added_tokens_decoder
        return {str(token): int(number) for number, token in added.items() if token.special}

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling(self.tokenizer, self.special_tokens)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[dict[str, Any]] = (),
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """What a model sees of a conversation: special tokens are the template's alone, and where a client
        spells one out, that is text. Where a template does not allow that, the notes say so.

        Raises `RequestRefused`.
        """
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
        ending = {
            "add_generation_prompt": add_generation_prompt and not continue_final_message,
            "continue_final_message": continue_final_message,
        }
        sent = _Conversation(plain, list(tools), dict(options or {}))
        text = self._render(sent, ending)
        hidden: list[str] = []
        covered = _Conversation(
            *(self._spelling.hide(part, hidden) for part in (sent.messages, sent.tools, sent.options))
        )
        if not hidden:
            return Rendered(text, self._plain_ids(text))
        try:
            with_placeholders = self._render(covered, ending)
            if self._spelling.shown(with_placeholders, hidden) != text:
                raise SpellingError("its chat template changes messages according to what they say")
            ids = self._spelling.ids(with_placeholders, hidden, self._plain_ids)
            return Rendered(text, ids)
        except (RequestRefused, SpellingError) as error:
            why = error.message if isinstance(error, RequestRefused) else str(error)
            spelt = ", ".join(dict.fromkeys(hidden))
            note = f"{spelt} in the messages may be read as special tokens of the model, not as text: {why}"
            return Rendered(text, self._plain_ids(text), (note,))

    def _render(self, conversation: _Conversation, ending: Mapping[str, bool]) -> str:
        """The text of the first form of a conversation that the template takes. Raises `RequestRefused`."""
        tools = conversation.tools
        by_template = bool(tools) and self.tool_format.in_template
        told = instructions(tools, self.tool_format) if tools and not by_template else ""
        first: Exception | None = None
        for variant in variants(conversation.messages, told, self.tool_format):
            try:
                text: str = self.tokenizer.apply_chat_template(
                    variant,
                    tools=tools if by_template else None,
                    tokenize=False,
                    **ending,
                    **conversation.options,
                )
                return text
            except Exception as error:
                # Templates raise whatever Jinja and their authors think of.
                first = first or error
        words = (str(first).strip().splitlines() or [type(first).__name__])[0]
        raise RequestRefused(
            f"the model's chat template refuses this conversation: {words}", where="messages"
        )

    def _plain_ids(self, text: str) -> list[int]:
        return self.tokens(text, add_special_tokens=False)

    def tokens(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text, in which special tokens are read as such."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
        return ids
