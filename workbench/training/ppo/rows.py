"""Prompts with their answers as rows of tokens, and where in them each token of an answer is foretold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Some answers, each behind its prompt, in rows [B, L] padded on the right.

    Attention is causal, so what stands behind a row needs no mask, and positions are those of the places.
    Of the N tokens of all answers, token n stands at (`rows`[n], `times`[n]) of a table [B, T], and is
    `targets`[n]; the model foretells it at place `places`[n] of the flattened rows.
    """

    ids: Tensor
    positions: Tensor
    places: Tensor
    targets: Tensor
    rows: Tensor
    times: Tensor
    length: int

    def table(self, values: Tensor) -> Tensor:
        """Values of all tokens [N] as a table [B, T], 0 where there is no token; gradients go through."""
        empty = values.new_zeros(len(self.ids), self.length)
        return empty.index_put((self.rows, self.times), values)


def rows_of(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], length: int, device: torch.device
) -> Rows:
    """Prompts and answers as rows; `length` is T. The last token of an answer foretells nothing and is left
    out."""
    width = max(len(p) + len(a) - 1 for p, a in zip(prompts, answers, strict=True))
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    places, rows, times = list[int](), list[int](), list[int]()
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids[row, : len(prompt) + len(answer) - 1] = torch.tensor([*prompt, *answer[:-1]])
        first = row * width + len(prompt) - 1
        places += range(first, first + len(answer))
        rows += [row] * len(answer)
        times += range(len(answer))
    targets = [token for answer in answers for token in answer]

    def here(numbers: Tensor | list[int]) -> Tensor:
        return torch.as_tensor(numbers).to(device)

    return Rows(
        ids=here(ids),
        positions=here(torch.arange(width).expand(len(prompts), -1)),
        places=here(places),
        targets=here(targets),
        rows=here(rows),
        times=here(times),
        length=length,
    )
