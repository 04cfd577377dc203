"""Which places of separate rows the tokens of a flat row stand at, and back.

Letters: N tokens of the flat row, R separate rows (one a completion), L their width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.ops.decoder_training.branches import Branches, Span


@dataclass(frozen=True)
class RowPlan:
    """`index` [R, L]: the token at each place of the separate rows, each prompt ⧺ completion, padded on the
    right; `home` [N]: the place in [R·L] from which a token's output is read; `again` [2, A]: the other
    places of tokens that stand in several rows (first line tokens, second places); `rounds`: where in `again`
    stretches end in which no token comes twice; `branches`: the same in stretches of the flat row. `windows`
    gets the windows that attention was called with."""

    index: Tensor
    home: Tensor
    again: Tensor
    rounds: tuple[int, ...]
    branches: Branches
    windows: set[int | None] = field(default_factory=set)

    def separate(self, x: Tensor) -> Tensor:
        """[1, heads, N, d] as separate rows [R, heads, L, d]."""
        flat = x[0].transpose(0, 1)
        rows = _Separate.apply(flat, self)
        return rows.unflatten(0, self.index.shape).transpose(1, 2)  # type: ignore[no-any-return]

    def together(self, rows: Tensor) -> Tensor:
        """[R, L, heads, d] as the flat row [1, N, heads, d]."""
        return _Together.apply(rows.flatten(0, 1), self.home)[None]  # type: ignore[no-any-return]


class _Separate(torch.autograd.Function):
    """Tokens [N, …] to places [R·L, …]. Its own gradient, for that of an index adds up row by row."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, plan: RowPlan) -> Tensor:
        ctx.plan = plan
        return flat.index_select(0, plan.index.flatten())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        plan: RowPlan = ctx.plan
        found = grads[0].index_select(0, plan.home)
        begin = 0
        for end in plan.rounds:
            tokens, places = plan.again[:, begin:end]
            # No token comes twice here, so the order of the additions is always the same.
            found.index_copy_(0, tokens, found.index_select(0, tokens) + grads[0].index_select(0, places))
            begin = end
        return found, None


class _Together(torch.autograd.Function):
    """Places [R·L, …] to tokens [N, …], each token from one place."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, home: Tensor) -> Tensor:
        ctx.save_for_backward(home)
        ctx.places = len(rows)
        return rows.index_select(0, home)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (home,) = ctx.saved_tensors
        found = grads[0].new_zeros(ctx.places, *grads[0].shape[1:])
        return found.index_copy_(0, home, grads[0]), None


class Layout(NamedTuple):
    """What of a plan is read on the CPU; see `RowPlan`."""

    rounds: tuple[int, ...]
    branches: Branches


def plan_arrays(
    prompts: Sequence[int], completions: Sequence[Sequence[int]]
) -> tuple[dict[str, NDArray[Any]], Layout]:
    """A plan for a flat row that holds, prompt by prompt, its tokens and those of its completions, from their
    lengths: arrays `plan_index`, `plan_home` and `plan_again`, and of each token `position_ids` [1, N], its
    position in its separate row; and the rest. See `RowPlan` and `plan_of`."""
    rows = sum(len(sizes) for sizes in completions)
    width = max(
        (prompt + size for prompt, sizes in zip(prompts, completions, strict=True) for size in sizes),
        default=0,
    )
    # Padding is any token: nothing that counts looks to its right.
    index = np.zeros((rows, width), np.int64)
    positions: list[NDArray[np.int64]] = []
    home: list[NDArray[np.int64]] = []
    again: list[list[NDArray[np.int64]]] = []
    groups: list[tuple[Span, list[Span]]] = []
    place = row = 0
    for prompt, sizes in zip(prompts, completions, strict=True):
        own = np.arange(place, place + prompt)
        groups.append(((place, place + prompt), []))
        positions.append(np.arange(prompt))
        home.append(row * width + np.arange(prompt))
        place += prompt
        for number, size in enumerate(sizes):
            groups[-1][1].append((place, place + size))
            index[row, :prompt] = own
            index[row, prompt : prompt + size] = np.arange(place, place + size)
            places = row * width + np.arange(prompt + size)
            if number:
                while len(again) < number:
                    again.append([])
                again[number - 1].append(np.stack([own, places[:prompt]]))
            positions.append(np.arange(prompt, prompt + size))
            home.append(places[prompt:])
            place, row = place + size, row + 1
    rounds = [np.concatenate(parts, 1) for parts in again]
    arrays = {
        "position_ids": np.concatenate(positions)[None],
        "plan_index": index,
        "plan_home": np.concatenate(home),
        "plan_again": np.concatenate(rounds, 1) if rounds else np.zeros((2, 0), np.int64),
    }
    ends = np.cumsum([part.shape[1] for part in rounds], dtype=np.int64).tolist()
    return arrays, Layout(tuple(ends), Branches(groups))


def plan_of(tensors: dict[str, Tensor], layout: Layout) -> RowPlan:
    """The plan that `plan_arrays` made, its arrays as tensors of the model's device."""
    return RowPlan(tensors["plan_index"], tensors["plan_home"], tensors["plan_again"], *layout)
