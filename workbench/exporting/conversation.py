"""What a chat template does, found by rendering conversations with it: where turns end, how a text begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Message = dict[str, str]

USER = {"role": "user", "content": "Who wrote it?"}
SYSTEM = {"role": "system", "content": "Answer in verse."}
ANSWER = {"role": "assistant", "content": "Ada did"}
AGAIN = {"role": "user", "content": "And then?"}
PROBES: tuple[tuple[Message, ...], ...] = (
    (USER,),
    (USER, ANSWER, AGAIN),
    (SYSTEM, USER),
    (SYSTEM, USER, ANSWER, AGAIN),
)
"""Conversations that tell two templates apart; no text has blanks at its ends, for some take them away."""


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
    """What the template writes behind an answer where that is no special token, but text like any other: who
    generates must be told to stop at it. None where there is nothing, or a token."""
    if template_of(tokenizer) is None or ends_of_turn(tokenizer):
        return None
    text = rendered(tokenizer, (USER, ANSWER), ask=False) or ""
    return text.partition(ANSWER["content"])[2].strip() or None


def unmarked_end(tokenizer: Any) -> list[str]:
    """A note on that, for who reads the export."""
    text = end_text(tokenizer)
    if text is None:
        return []
    return [f"an answer ends with the text {text}, which is no token of this tokenizer: have it stop there"]


def begins_with_bos(tokenizer: Any) -> bool:
    """Whether the template itself writes the token that texts begin with."""
    return bool(tokenizer.bos_token) and _all_begin(tokenizer, (tokenizer.bos_token,))


def begins_special(tokenizer: Any) -> bool:
    """Whether there is a template, and conversations begin with a special token by it."""
    return _all_begin(tokenizer, tuple(token for token in special_tokens(tokenizer) if token))


def _all_begin(tokenizer: Any, tokens: tuple[str, ...]) -> bool:
    texts = [text for messages in PROBES if (text := rendered(tokenizer, messages)) is not None]
    return bool(texts) and all(text.startswith(tokens) for text in texts)


def does_the_same(tokenizer: Any, template: str, other: str) -> bool:
    """Whether two templates write the same of whatever `template` takes, and it takes something."""
    pairs = [
        (rendered(tokenizer, messages, template, ask=ask), rendered(tokenizer, messages, other, ask=ask))
        for messages in PROBES
        for ask in (True, False)
    ]
    taken = [(one, two) for one, two in pairs if one is not None]
    return bool(taken) and all(one == two for one, two in taken)


def end_tokens(tokenizer: Any, configs: Sequence[Any]) -> list[int]:
    """Every token that ends an answer: those that the tokenizer and configurations name, then what the
    template puts behind one."""
    found: dict[int, None] = {}
    for place in (*configs, tokenizer):
        value = getattr(place, "eos_token_id", None)
        for token in value if isinstance(value, list) else [] if value is None else [value]:
            found[int(token)] = None
    for token in ends_of_turn(tokenizer).values():
        found[token] = None
    return list(found)
