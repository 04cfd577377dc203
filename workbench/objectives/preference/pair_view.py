"""Prompts with their compared answers, as a person inspects them."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.objectives.base import Batch
from workbench.objectives.view import RowView, State, StreamView, TokenView


def pair_views(batch: Batch, special: set[int]) -> list[RowView]:
    """A row for each prompt: the prompt, and behind it each answer, which sees the prompt and itself.

    Document 0 is the prompt, its answers are 1, 2, …; what counts is marked as supervised, token by token,
    and an answer's first token says which it is.
    """
    return [
        _view(number, element, batch.extra["spoken"][number], special)
        for number, element in enumerate(batch.extra["elements"])
    ]


def _view(number: int, element: Any, spoken: list[tuple[Any, Any]], special: set[int]) -> RowView:
    prompt = element.prompt.tolist()
    tokens = [
        TokenView(token, "special" if token in special else "context", place, 0)
        for place, token in enumerate(prompt)
    ]
    names = _names(element)
    for answer, (ids, said) in enumerate(spoken):
        for place, (token, counts) in enumerate(zip(ids.tolist(), said.tolist(), strict=True)):
            state: State = "supervised" if counts else "special" if token in special else "context"
            note = names[answer] if place == 0 else ""
            target = token if counts else None
            tokens.append(TokenView(token, state, len(prompt) + place, answer + 1, target, note=note))
    documents = np.array([token.document for token in tokens])
    sees = (documents[:, None] == documents[None, :]) | (documents == 0)[None, :]
    counted = [f"{name} {int(said.sum())} tokens" for name, (_, said) in zip(names, spoken, strict=True)]
    notes = [] if len(names) == 2 else [_compared(element, names)]
    return RowView(number, [StreamView("input", tokens, np.tril(sees))], ", ".join(counted), notes)


def _names(element: Any) -> list[str]:
    """What each answer is called: chosen and rejected, or of more than two a number."""
    count = len(element.answers)
    if count == 2 and len(element.pairs) == 1:
        better, _ = element.pairs[0]
        return ["chosen" if place == better else "rejected" for place in range(count)]
    return [f"answer {place + 1}" for place in range(count)]


def _compared(element: Any, names: list[str]) -> str:
    wins = [f"{better + 1} over {worse + 1}" for better, worse in element.pairs]
    return f"compared: {', '.join(wins)}"
