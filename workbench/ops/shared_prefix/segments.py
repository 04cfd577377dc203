"""PyTorch's fused attention over one segment of keys, with the log-sum-exp, and its backward, which takes the
output and the log-sum-exp of any larger softmax that the segment is a part of.

On a CPU the flash operator, which groups heads itself; on a GPU the memory-efficient one, which is for every
size of head, needs as many heads of keys as of queries, a mask whose rows begin at multiples of 16 bytes, and
room for 32 log-sum-exps at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default
_efficient = torch.ops.aten._scaled_dot_product_efficient_attention.default
_efficient_backward = torch.ops.aten._scaled_dot_product_efficient_attention_backward.default
_MULTIPLE, _LSE_MULTIPLE = 16, 32


def is_cpu(tensor: Tensor) -> bool:
    """Whether the CPU's operators take a tensor."""
    return tensor.device.type == "cpu"


def unseen(like: Tensor) -> float:
    """What a mask adds to the score of a key that is not seen: −∞ on a CPU. The GPU's operator gets a number
    that no score comes near, since rows of nothing but −∞ may become NaN there; such a row's log-sum-exp is
    about as low, and it weighs nothing beside a prefix."""
    return -torch.inf if is_cpu(like) else torch.finfo(like.dtype).min / 4


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Output [B, H, S, d] and log-sum-exp [B, H, S] (fp32, of fp64 fp64) of queries [B, H, S, d], keys and
    values [B, KV, T, d]; `mask` [B, 1, S, T] is added to the scores."""
    if is_cpu(query):
        output, lse = _flash(query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale)
        return output, lse
    keys, values = (_repeated(one, query) for one in (key, value))
    bias = _bias(query, keys, mask)
    output, lse, *_ = _efficient(query, keys, values, bias, True, 0.0, is_causal, scale=scale)
    return output, lse[..., : query.shape[2]].to(torch.float32)


def attend_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    *,
    is_causal: bool,
    mask: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value, from that of the output."""
    if is_cpu(query):
        found: tuple[Tensor, Tensor, Tensor] = _flash_backward(
            grad, query, key, value, output, lse, 0.0, is_causal, attn_mask=mask, scale=scale
        )
        return found
    keys, values = (_repeated(one, query) for one in (key, value))
    bias = _bias(query, keys, mask)
    room = pad(lse, (0, -lse.shape[2] % _LSE_MULTIPLE)).contiguous()
    nothing = torch.zeros((), dtype=torch.int64, device=query.device)  # the seed of a dropout of 0
    of_query, of_keys, of_values, _ = _efficient_backward(
        *(grad, query, keys, values, bias, output, room, nothing, nothing, 0.0),
        (True, True, True, False),
        is_causal,
        scale=scale,
    )
    return of_query, _summed(of_keys, key), _summed(of_values, value)


def _repeated(one: Tensor, query: Tensor) -> Tensor:
    return one.repeat_interleave(query.shape[1] // one.shape[1], 1)


def _summed(gradient: Tensor, like: Tensor) -> Tensor:
    """Of repeated heads, that of each, added up in fp32."""
    batch, kv_heads, length, size = like.shape
    groups = gradient.reshape(batch, kv_heads, -1, length, size)
    return groups.sum(2, dtype=torch.promote_types(like.dtype, torch.float32)).to(like.dtype)


def _bias(query: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
    """The mask for all heads [B, H, S, T], its rows whole multiples apart; without one zeros of no room."""
    batch, heads, queries, _ = query.shape
    length = keys.shape[2]
    more = -length % _MULTIPLE
    given = query.new_zeros(1, 1, 1, length) if mask is None else mask
    return pad(given, (0, more))[..., :length].expand(batch, heads, queries, length)
