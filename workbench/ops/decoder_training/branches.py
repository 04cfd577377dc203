"""Causal attention on the CPU of a flat row in which several completions share the prompt before them: the
prompt's keys and values are where they are, and read by each completion as a prefix.

Source: `kernels/shared_prefix.cpp`; nothing is gathered, copied or padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from workbench.ops.shared_prefix.definition import Inputs
from workbench.ops.shared_prefix.native import run

if TYPE_CHECKING:
    from workbench.ops.decoder_training.attention import Heads

Span = tuple[int, int]
"""First place and that behind the last."""


class Branches(NamedTuple):
    """Prompts of a flat row, each with its completions; together they are all places of the row."""

    groups: Sequence[tuple[Span, Sequence[Span]]]

    def calls(self) -> list[tuple[Span, Span]]:
        """Each stretch of queries with the prefix before it; that of a prompt is empty."""
        found = []
        for prompt, completions in self.groups:
            if prompt[1] > prompt[0]:
                found.append((prompt, (prompt[0], prompt[0])))
            found += [(completion, prompt) for completion in completions if completion[1] > completion[0]]
        return found


def attend_branches(heads: Heads, branches: Branches, scale: float) -> tuple[Tensor, Tensor]:
    """Output [1, N, H, d] and log-sum-exps [1, N, H] (fp32) of queries [1, N, H, d], keys and values
    [1, N, KV, d]: each completion sees its prompt and itself."""
    query = heads.query
    output = torch.empty_like(query)
    lse = query.new_empty(query.shape[:3], dtype=torch.float32)
    for here, before in branches.calls():
        run(_inputs(heads, here, before, scale), _part(output, here), _part(lse, here))
    return output, lse


def attend_branches_backward(
    heads: Heads, branches: Branches, scale: float, grad: Tensor, output: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values from that of the output [1, N, H, d]; those of a prompt are added
    up in the order of its completions, always the same."""
    of_query, of_key, of_value = (torch.empty_like(x) for x in heads)
    for here, before in branches.calls():
        inputs = _inputs(heads, here, before, scale)
        of_prefix = torch.empty_like(inputs.prefix_key), torch.empty_like(inputs.prefix_value)
        gradients = (_part(of_query, here), *of_prefix, _part(of_key, here), _part(of_value, here))
        run(inputs, _part(output, here), _part(lse, here), _part(grad, here), gradients)
        for whole, part in zip((of_key, of_value), of_prefix, strict=True):
            whole[0, slice(*before)] += part.transpose(0, 1)
    return of_query, of_key, of_value


def _inputs(heads: Heads, here: Span, before: Span, scale: float) -> Inputs:
    query, key, value = (_part(x, here) for x in heads)
    prefix_key, prefix_value = (x[0, slice(*before)].transpose(0, 1) for x in (heads.key, heads.value))
    return Inputs(query, prefix_key, prefix_value, key, value, None, None, scale)


def _part(x: Tensor, here: Span) -> Tensor:
    """Some places of [1, N, heads, …], with heads first."""
    return x[:, slice(*here)].transpose(1, 2)
