"""What else a chat template does, found by rendering conversations with it: how a text begins, whether
another one writes the same."""

from __future__ import annotations

from typing import Any

from workbench.data.turn_ends import (
    AGAIN,
    ANSWER,
    USER,
    Message,
    end_text,
    rendered,
    special_tokens,
)

SYSTEM = {"role": "system", "content": "Answer in verse."}
PROBES: tuple[tuple[Message, ...], ...] = (
    (USER,),
    (USER, ANSWER, AGAIN),
    (SYSTEM, USER),
    (SYSTEM, USER, ANSWER, AGAIN),
)
"""Conversations that tell two templates apart; no text has blanks at its ends, for some take them away."""


def unmarked_end(tokenizer: Any) -> list[str]:
    """A note for who reads the export, where an answer ends with no token: see `end_text`."""
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
