"""Conversations as tokens, of which only what the assistant says is to be predicted.

Where the chat template marks what the assistant says (`{% generation %}`), that is taken. Elsewhere the
conversation is rendered once for each beginning of it, and each rendering must be the beginning of the next:
what a rendering adds is then exactly what was said. A template that writes earlier messages otherwise once
later ones follow cannot be masked so, and is an error: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from workbench.data.chat_templates import known_templates
from workbench.data.spelling import Spelling, SpellingError
from workbench.errors import DataError

Message = Mapping[str, Any]
Span = tuple[int, int]
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
"""The tag that begins what the assistant says, in transformers' templates."""


class Rendered(NamedTuple):
    """Tokens of a conversation, and which of them are to be predicted."""

    ids: list[int]
    supervised: list[bool]


class Conversations:
    """Renders conversations through the chat template of one tokenizer.

    Raises `DataError` where there is no template.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not tokenizer.chat_template:
            raise DataError(
                "the tokenizer has no chat template: it cannot write down who says what",
                where=str(getattr(tokenizer, "name_or_path", "")),
                hint=f"name one as data.chat_template: {', '.join(known_templates())}, or a file of your own",
            )
        self.tokenizer = tokenizer
        self._special = {
            str(token): int(number)
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.special
        }
        self._spelling = Spelling(tokenizer, self._special)

    def render(
        self, messages: Sequence[Message], tools: Sequence[Any] = (), *, first: int = 0, where: str = ""
    ) -> Rendered:
        """A whole conversation; the assistant's messages from number `first` on are to be predicted, each
        with the token that ends its turn. Special tokens are the template's alone: where a message spells
        one out, that is text. Raises `DataError`."""
        hidden: list[str] = []
        covered = self._spelling.hide([dict(message) for message in messages], hidden)
        offered = self._spelling.hide(list(tools), hidden)
        text, spans = self._spans(covered, offered, first, where)
        return self._tokens(text, spans, hidden, where)

    def opening(
        self, messages: Sequence[Message], tools: Sequence[Any] = (), *, where: str = ""
    ) -> list[int]:
        """The tokens of a conversation up to where the assistant begins to speak. Raises `DataError`."""
        hidden: list[str] = []
        covered = self._spelling.hide([dict(message) for message in messages], hidden)
        offered = self._spelling.hide(list(tools), hidden)
        text, _ = self._text(covered, offered, where, begins=True)
        return self._tokens(text, [], hidden, where).ids

    def _spans(
        self, messages: list[Message], tools: list[Any], first: int, where: str
    ) -> tuple[str, list[Span]]:
        """The text of a conversation, and where in it the assistant speaks."""
        said = [n for n, message in enumerate(messages) if message["role"] == "assistant" and n >= first]
        if not said:
            raise DataError("the assistant says nothing", where=where, hint="leave such records out")
        text, marked = self._text(messages, tools, where)
        if marked:
            speaking = sum(message["role"] == "assistant" for message in messages)
            if first and len(marked) != speaking:
                raise self._unsafe(f"it marks {len(marked)} of {speaking} messages of the assistant", where)
            return text, [self._with_end(text, span) for span in (marked[-len(said) :] if first else marked)]
        return text, [self._added(text, messages, tools, number, where) for number in said]

    def _added(self, text: str, messages: list[Message], tools: list[Any], number: int, where: str) -> Span:
        """Where in the text of the whole conversation a message of the assistant's stands."""
        before, _ = self._text(messages[:number], tools, where, begins=True)
        until, _ = self._text(messages[: number + 1], tools, where)
        if not (text.startswith(until) and until.startswith(before)):
            raise self._unsafe(f"it writes message {number + 1} otherwise once more follows", where)
        span = len(before), len(until)
        places = ((until.rfind(token, *span), len(token)) for token in self._special)
        end = max((place + size for place, size in places if place >= 0), default=-1)
        # Blanks behind the end of a turn belong to the next.
        if end < 0 or until[end:].strip():
            raise self._unsafe("it ends what the assistant says with no special token", where)
        return span[0], end

    def _with_end(self, text: str, span: Span) -> Span:
        """A span, and the special token that ends the turn where the template left it outside."""
        start, stop = span
        if any(text[start:stop].rstrip().endswith(token) for token in self._special):
            return span
        following = (token for token in self._special if text.startswith(token, stop))
        return start, stop + len(max(following, key=len, default=""))

    def _text(
        self, messages: Sequence[Message], tools: Sequence[Any], where: str, *, begins: bool = False
    ) -> tuple[str, list[Span]]:
        """The text that the template makes, and what it marks; `begins`: up to where the assistant speaks."""
        from transformers.utils.chat_template_utils import render_jinja_template

        template = self.tokenizer.get_chat_template(tools=list(tools) or None)
        marks = not begins and GENERATION.search(template) is not None
        try:
            texts, spans = render_jinja_template(
                [list(messages)],
                tools=list(tools) or None,
                chat_template=template,
                add_generation_prompt=begins,
                return_assistant_tokens_mask=marks,
                **self.tokenizer.special_tokens_map,
            )
        except Exception as error:
            # Templates raise whatever Jinja and their authors think of.
            words = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"the model's chat template refuses this conversation: {words}",
                where=where,
                hint="change the record, or name another template as data.chat_template",
            ) from None
        return str(texts[0]), [(start, stop) for start, stop in (spans[0] if marks else ())]

    def _tokens(self, text: str, spans: list[Span], hidden: list[str], where: str) -> Rendered:
        if not hidden:
            found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            return self._marked(found["input_ids"], found["offset_mapping"], spans, where)
        edges = [edge for span in spans for edge in span]
        try:
            ids, places, moved = self._spelling.placed(text, hidden, self._plain, edges)
        except SpellingError as error:
            spelt = ", ".join(dict.fromkeys(hidden))
            raise DataError(
                f"a message spells out {spelt}, which cannot be told from the special token: {error}",
                where=where,
                hint="take it out of the record",
            ) from None
        return self._marked(ids, places, list(zip(moved[::2], moved[1::2], strict=True)), where)

    def _marked(
        self, ids: Sequence[int], places: Sequence[Span], spans: Sequence[Span], where: str
    ) -> Rendered:
        """Tokens that lie in a span are to be predicted; none may lie across the edge of one."""
        supervised = [False] * len(ids)
        number = 0
        for place, (start, stop) in enumerate(places):
            while number < len(spans) and start >= spans[number][1]:
                number += 1
            if number == len(spans):
                break
            begin, end = spans[number]
            if start >= begin and stop <= end:
                supervised[place] = stop > start
            elif stop > begin:
                raise DataError(
                    f"one token, “{self.tokenizer.decode([ids[place]])}”, holds the edge of what the "
                    "assistant says",
                    where=where,
                    hint="use a chat template that puts a special token or a new line there",
                )
        return Rendered(list(ids), supervised)

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _unsafe(self, why: str, where: str) -> DataError:
        name = str(getattr(self.tokenizer, "name_or_path", ""))
        return DataError(
            f"the chat template of {name} cannot be masked safely: {why}",
            where=where,
            hint=f"name a template that marks what the assistant says as data.chat_template: "
            f"{', '.join(known_templates())}, or a file with {{% generation %}} in it",
        )
