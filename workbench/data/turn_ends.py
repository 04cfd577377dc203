"""Where the assistant's turn ends by a chat template, found by rendering a conversation with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Message = dict[str, str]

USER = {"role": "user", "content": "Who wrote it?"}
ANSWER = {"role": "assistant", "content": "Ada did"}
AGAIN = {"role": "user", "content": "And then?"}


def template_of(tokenizer: Any) -> str | None:
    """The text of its chat template, the default one where it has several."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), None)
    return str(template) if template else None


def rendered(
    tokenizer: Any, messages: Sequence[Message], template: str | None = None, *, ask: bool = True
) -> str | None:
    """The text of a conversation; None where the template refuses it. `ask` has the assistant speak next."""
    try:
        text = tokenizer.apply_chat_template(
            list(messages), chat_template=template, tokenize=False, add_generation_prompt=ask
        )
    except Exception:
        # Templates raise whatever Jinja and their authors think of.
        return None
    return str(text)


def special_tokens(tokenizer: Any) -> dict[str, int]:
    """The special tokens by their text."""
    added = tokenizer.added_tokens_decoder
    found = {str(token.content): id for id, token in added.items() if token.special}
    for text in tokenizer.all_special_tokens:
        found.setdefault(str(text), int(tokenizer.convert_tokens_to_ids(text)))
    return found


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """All tokens that end an answer: those that the model's generation, its configuration and the tokenizer
    name, and what the chat template writes behind one, for a model that learnt it may still name the end of
    a text alone."""
    places = (getattr(model, "generation_config", None), model.config, tokenizer)
    ends: set[int] = set(ends_of_turn(tokenizer).values())
    for value in (getattr(place, "eos_token_id", None) for place in places):
        ends |= set(value) if isinstance(value, list | tuple) else {value} if value is not None else set()
    return frozenset(int(end) for end in ends)


def ends_of_turn(tokenizer: Any) -> dict[str, int]:
    """The special tokens, by their text, that the template writes right behind what the assistant says."""
    if template_of(tokenizer) is None:
        return {}
    special = special_tokens(tokenizer)
    found = {}
    for messages in ((USER, ANSWER), (USER, ANSWER, AGAIN)):
        text = rendered(tokenizer, messages, ask=False)
        if text is None or ANSWER["content"] not in text:
            continue
        behind = text.partition(ANSWER["content"])[2].lstrip()
        for token in sorted(special, key=len, reverse=True):
            if token and behind.startswith(token):
                found[token] = special[token]
                break
    return found


def end_text(tokenizer: Any) -> str | None:
    """What the template writes behind an answer where that is no special token, but text like any other, as
    ChatML's `<|im_end|>` is for a tokenizer that lacks it: who generates must stop at that text. None where
    there is nothing, or a token."""
    if template_of(tokenizer) is None or ends_of_turn(tokenizer):
        return None
    text = rendered(tokenizer, (USER, ANSWER), ask=False) or ""
    return text.partition(ANSWER["content"])[2].strip() or None
