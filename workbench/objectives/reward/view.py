"""What a reward model sees of a prompt: each answer behind it, and where the score is read."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.objectives.base import Batch
from workbench.objectives.view import RowView, State, StreamView, TokenView


def views_of(batch: Batch, tokenizer: Any) -> list[RowView]:
    """One row for each prompt, with a stream for each of its answers, best first."""
    special = set(tokenizer.all_special_ids)
    store = batch.extra["store"]
    views = []
    for row, element in enumerate(batch.extra["elements"]):
        present = np.flatnonzero(batch.arrays["present"][row])
        ranks = batch.arrays["ranks"][row][present]
        streams = [
            _stream(batch, int(batch.arrays["places"][row, place]), int(ranks[place]), place, special)
            for place in np.argsort(ranks, kind="stable").tolist()
        ]
        margin = float(batch.arrays["margins"][row])
        notes = [f"the better is to score {margin:g} more"] if margin else []
        pairs = int((store.pairs[:, 0] == element).sum())
        label = f"{len(present)} answers, {pairs} pairs, ranks {' '.join(map(str, ranks.tolist()))}"
        views.append(RowView(row, streams, label, notes))
    return views


def _stream(batch: Batch, sequence: int, rank: int, place: int, special: set[int]) -> StreamView:
    ids = batch.arrays["input_ids"][sequence].tolist()
    real = batch.arrays["attention_mask"][sequence].astype(bool)
    last = int(real.sum()) - 1
    tokens = []
    for position, token in enumerate(ids):
        state: State = "special" if token in special else "context"
        state = state if real[position] else "padding"
        if position == last:
            # Where the score is read, also where that is the end of a turn.
            tokens.append(TokenView(token, "supervised", position, 0, note=f"the score, rank {rank}"))
        else:
            tokens.append(TokenView(token, state, position, 0 if real[position] else -1))
    visible = np.tril(np.ones((len(ids), len(ids)), np.bool_)) & real[:, None] & real[None, :]
    return StreamView(f"answer {place + 1}, rank {rank}", tokens, visible)
