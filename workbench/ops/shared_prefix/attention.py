"""Shared-prefix attention as an operator of PyTorch: eager, under autograd, and in compiled graphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workbench.ops.shared_prefix.definition import Gradients, Inputs
from workbench.ops.shared_prefix.paths import GPU_PATHS, PATHS, Name, Path, choose


def shared_prefix_attention(
    query: Tensor,
    prefix_key: Tensor,
    prefix_value: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    scale: float | None = None,
    path: Name | None = None,
) -> Tensor:
    """Causal attention of each row to a prefix that all rows share and to its own keys, under one softmax:
    the output [B, H, S, d], without the prefix ever expanded over the batch where that costs more.

    query [B, H, S, d]; prefix_key and prefix_value [KV, P, d] with P ≥ 1, seen by every query; key and value
    [B, KV, T, d] with T ≥ S, the last query standing at the last key. `starts` and `ends` [B] (int32 or
    int64) keep a row to its own keys from `starts` up to, not including, `ends`: left and right padding.
    A query that sees no own key sees the prefix alone. `scale` is d^-½ where it is not given. `path` makes
    it take one path (see `paths.choose`). Gradients of the prefix are summed over the batch.

    Raises `ValueError` for shapes, types or devices that do not fit each other.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    inputs = Inputs(query, prefix_key, prefix_value, key, value, starts, ends, scale)
    _check(inputs)
    output: Tensor = _attention(*inputs, path)[0]
    return output


def _check(inputs: Inputs) -> None:
    query, prefix_key, prefix_value, key, value, starts, ends, _ = inputs
    if query.ndim != 4 or key.ndim != 4 or prefix_key.ndim != 3:
        raise ValueError("query, key and value are [B, heads, n, d], the prefix is [heads, n, d]")
    batch, heads, queries, size = query.shape
    kv_heads, own = key.shape[1:3]
    expected = {
        "key": (key, (batch, kv_heads, own, size)),
        "value": (value, (batch, kv_heads, own, size)),
        "prefix_key": (prefix_key, (kv_heads, prefix_key.shape[1], size)),
        "prefix_value": (prefix_value, (kv_heads, prefix_key.shape[1], size)),
        **{name: (t, (batch,)) for name, t in (("starts", starts), ("ends", ends)) if t is not None},
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name} is {list(tensor.shape)}, not {list(shape)}, for query {list(query.shape)}"
            )
        if tensor.device != query.device:
            raise ValueError(f"{name} is on {tensor.device}, query on {query.device}")
        bounds = name in ("starts", "ends")
        if not bounds and tensor.dtype != query.dtype:
            raise ValueError(f"{name} is of {tensor.dtype}, query of {query.dtype}")
        if bounds and tensor.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"{name} is of {tensor.dtype}, not int32 or int64")
    if heads % kv_heads:
        raise ValueError(f"{heads} query heads are no multiple of {kv_heads} key/value heads")
    if not prefix_key.shape[1]:
        raise ValueError("a prefix of no positions: use scaled_dot_product_attention")
    if own < queries:
        raise ValueError(f"{queries} queries with only {own} own keys: each query has one of its own")


INPUTS = (
    "Tensor query, Tensor prefix_key, Tensor prefix_value, Tensor key, Tensor value, "
    "Tensor? starts, Tensor? ends, float scale, str? path"
)


@torch.library.custom_op(
    "workbench::shared_prefix_attention", mutates_args=(), schema=f"({INPUTS}) -> (Tensor, Tensor)"
)
def _attention(*args: Any) -> tuple[Tensor, Tensor]:
    inputs, path = _parted(args)
    output, lse = path.forward(inputs)
    return _by_rows(output), _by_rows(lse)


@torch.library.custom_op(
    "workbench::shared_prefix_attention_backward",
    mutates_args=(),
    schema=f"({INPUTS}, Tensor grad, Tensor output, Tensor lse) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _attention_backward(*args: Any) -> Gradients:
    inputs, path = _parted(args[:-3])
    of_query, of_prefix_key, of_prefix_value, of_key, of_value = path.backward(inputs, *args[-3:])
    return (
        _by_rows(of_query),
        of_prefix_key.contiguous(),
        of_prefix_value.contiguous(),
        _by_rows(of_key),
        _by_rows(of_value),
    )


def _parted(args: tuple[Any, ...]) -> tuple[Inputs, Path]:
    """An operator's flat arguments as inputs, and the path that was asked for or chosen."""
    *parts, name = args
    inputs = Inputs(*parts)
    return inputs, (PATHS | GPU_PATHS)[name or choose(inputs).path]


def _by_rows(x: Tensor) -> Tensor:
    """The same [B, heads, n, …] with heads innermost in memory, as models keep it: one layout whatever the
    path. Nothing is copied where it is so already."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def _empty_by_rows(like: Tensor, *, lse: bool = False) -> Tensor:
    batch, heads, length, size = like.shape
    if not lse:
        return like.new_empty(batch, length, heads, size).transpose(1, 2)
    precise = torch.promote_types(like.dtype, torch.float32)
    return like.new_empty(batch, length, heads, dtype=precise).transpose(1, 2)


@_attention.register_fake
def _(query: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return _empty_by_rows(query), _empty_by_rows(query, lse=True)


@_attention_backward.register_fake
def _(*args: Any) -> tuple[Tensor, ...]:
    query, prefix_key, prefix_value, key, value = args[:5]
    prefix = (part.new_empty(part.shape) for part in (prefix_key, prefix_value))
    return _empty_by_rows(query), *prefix, _empty_by_rows(key), _empty_by_rows(value)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, scale, path = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.scale, ctx.path = scale, path
    ctx.mark_non_differentiable(output[1])


def _gradients(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    *inputs, output, lse = ctx.saved_tensors
    five = _attention_backward(*inputs, ctx.scale, ctx.path, grad, output, lse)
    return (*five, None, None, None, None)


_attention.register_autograd(_gradients, setup_context=_keep)
