"""Rows of models that predict the next token, marked by what is predicted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.objectives.view import RowView, State, TokenView


def by_what_is_predicted(view: RowView, special: Collection[int]) -> RowView:
    """The row with those tokens as supervised that the one before them must predict: who looks for what is
    learned means these, the end of a turn among them, and not the places that predict them, each of which
    still tells its target."""
    streams = [replace(stream, tokens=_marked(stream.tokens, special)) for stream in view.streams]
    return replace(view, streams=streams)


def _marked(tokens: Sequence[TokenView], special: Collection[int]) -> list[TokenView]:
    marked: list[TokenView] = []
    wanted: int | None = None
    for token in tokens:
        state: State = "special" if token.id in special else "context"
        if token.state == "padding":
            state = "padding"
        elif token.id == wanted:
            state = "supervised"
        marked.append(replace(token, state=state))
        wanted = token.target
    return marked
