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


def end_tokens(tokenizer: Any, configs: Sequence[Any]) -> list[int]:
    """Every token that ends an answer: those that the model's configurations (None for one that it has not)
    and the tokenizer name, then what the chat template writes behind an answer, for a model that learnt it
    may still name the end of a text alone."""
    found: dict[int, None] = {}
    for place in (*configs, tokenizer):
        value = getattr(place, "eos_token_id", None)
        for token in value if isinstance(value, list | tuple) else [] if value is None else [value]:
            found[int(token)] = None
    return list(found | dict.fromkeys(ends_of_turn(tokenizer).values()))


def ends_of_model(model: Any, tokenizer: Any) -> frozenset[int]:
    """`end_tokens` of a model that is loaded."""
    return frozenset(end_tokens(tokenizer, (getattr(model, "generation_config", None), model.config)))


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
