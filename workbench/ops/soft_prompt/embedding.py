"""Soft-prompt embedding as an operator of PyTorch: eager, under autograd, and in compiled graphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workbench.ops.soft_prompt.definition import Inputs, definition
from workbench.ops.soft_prompt.paths import GPU_PATHS, PATHS, Name, choose


def soft_prompt_embedding(
    ids: Tensor,
    table: Tensor,
    prompt: Tensor,
    index: Tensor | None = None,
    *,
    scale: float | None = None,
    path: Name | None = None,
) -> Tensor:
    """Embeddings [B, P + T, D] of soft prompts and the tokens after them, in the table's type.

    ids [B, T] (int32 or int64); table [V, D]; prompt [P, D] for all rows, or [N, P, D] and `index` [B] that
    says which of them each row has. The prompt may be of another floating type than the table (fp32 before
    bf16): it is rounded here, and its gradient comes in its own type, summed over the rows in fp32. `scale`
    multiplies the tokens and not the prompt (Gemma's embeddings: √D, rounded to the table's type). The soft
    prompt is at the front of the row, before any padding on the left; see `prompt_mask`. The table has no
    gradient unless it requires one: then the call is left to the definition. `path` makes it take one path
    (see `paths.choose`).

    Raises `ValueError` for shapes, types or devices that do not fit each other.
    """
    inputs = Inputs(ids, table, prompt, index, scale)
    _check(inputs)
    name = path or choose(inputs).path
    if name == "definition":
        return definition(inputs)
    if table.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"the path {name} has no gradient for a table that requires one")
    output: Tensor = _embedding(*inputs, name)
    return output


def _check(inputs: Inputs) -> None:
    ids, table, prompt, index, _ = inputs
    if ids.ndim != 2 or table.ndim != 2:
        raise ValueError(
            f"ids are [B, T] and the table is [V, D], not {list(ids.shape)}, {list(table.shape)}"
        )
    if prompt.ndim != (2 if index is None else 3):
        needed = "[P, D] without an index" if index is None else "[N, P, D] with an index"
        raise ValueError(f"the prompt is {list(prompt.shape)}, not {needed}")
    if prompt.shape[-1] != table.shape[1]:
        raise ValueError(
            f"the prompt's vectors have {prompt.shape[-1]} numbers, the table's {table.shape[1]}: "
            "it was made for another model"
        )
    if index is not None and tuple(index.shape) != (len(ids),):
        raise ValueError(f"index is {list(index.shape)}, not [{len(ids)}], for ids {list(ids.shape)}")
    places = {"ids": ids} if index is None else {"ids": ids, "index": index}
    for name, tensor in {**places, "prompt": prompt}.items():
        if tensor.device != table.device:
            raise ValueError(f"{name} is on {tensor.device}, the table on {table.device}")
    for name, tensor in places.items():
        if tensor.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"{name} is of {tensor.dtype}, not int32 or int64")
    for name, tensor in {"table": table, "prompt": prompt}.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{name} is of {tensor.dtype}, not a floating type")


@torch.library.custom_op(
    "workbench::soft_prompt_embedding",
    mutates_args=(),
    schema="(Tensor ids, Tensor table, Tensor prompt, Tensor? index, float? scale, str path) -> Tensor",
)
def _embedding(*args: Any) -> Tensor:
    *parts, name = args
    path: Name = name
    return (PATHS | GPU_PATHS)[path].forward(Inputs(*parts))


@torch.library.custom_op(
    "workbench::soft_prompt_embedding_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor prompt, Tensor? index, str path) -> Tensor",
)
def _embedding_backward(*args: Any) -> Tensor:
    grad, prompt, index, name = args
    path: Name = name
    return (PATHS | GPU_PATHS)[path].backward(grad, prompt, index)


@_embedding.register_fake
def _(ids: Tensor, table: Tensor, prompt: Tensor, *_: Any) -> Tensor:
    batch, length = ids.shape
    return table.new_empty(batch, prompt.shape[-2] + length, table.shape[1])


@_embedding_backward.register_fake
def _(grad: Tensor, prompt: Tensor, *_: Any) -> Tensor:
    return prompt.new_empty(prompt.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, _, prompt, index, _, path = inputs
    ctx.save_for_backward(prompt, index)
    ctx.path = path


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    prompt, index = ctx.saved_tensors
    return None, None, _embedding_backward(grad, prompt, index, ctx.path), None, None, None


_embedding.register_autograd(_gradients, setup_context=_keep)
