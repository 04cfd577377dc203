"""The composed path: prompt and tokens are written straight to their places in one allocation."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.ops.soft_prompt.definition import Inputs


def composed(inputs: Inputs) -> Tensor:
    """See `definition`. Raises `ValueError` for tokens or prompts that there are not (on a CPU)."""
    ids, table, prompt, index, scale = inputs
    (batch, length), (virtual, size) = ids.shape, prompt.shape[-2:]
    if ids.device.type == "cpu":
        check_bounds("ids", ids, len(table))
        if index is not None:
            check_bounds("index", index, len(prompt))
    output = table.new_empty(batch, virtual + length, size)
    output[:, :virtual] = prompt if index is None else prompt[index]
    tokens = output[:, virtual:]
    for row, row_ids in zip(tokens, ids, strict=True):
        torch.index_select(table, 0, row_ids, out=row)
    if scale is not None:
        tokens.mul_(torch.tensor(scale, dtype=table.dtype, device=table.device))
    return output


def composed_gradient(grad: Tensor, prompt: Tensor, index: Tensor | None) -> Tensor:
    """The prompt's gradient, from that of the output [B, P + T, D]: of the prompt's shape and type, the rows
    summed in fp32 (of fp64 in fp64)."""
    precise = torch.promote_types(grad.dtype, torch.float32)
    own = grad[:, : prompt.shape[-2]]
    if index is None:
        return own.sum(0, dtype=precise).to(prompt.dtype)
    total = torch.zeros(prompt.shape, dtype=precise, device=grad.device)
    return total.index_add_(0, index, own.to(precise)).to(prompt.dtype)


def check_bounds(name: str, places: Tensor, count: int) -> None:
    """`ValueError` unless all places are in 0 … count − 1."""
    if not places.numel():
        return
    least, most = (int(x) for x in places.aminmax())
    if least < 0 or most >= count:
        raise ValueError(f"{name} has {least if least < 0 else most}, outside 0 to {count - 1}")
