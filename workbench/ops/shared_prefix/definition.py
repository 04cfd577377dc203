"""What shared-prefix attention is, in plain PyTorch: any device and floating type.

Letters: B rows of the batch, H query heads, KV key/value heads (H is a multiple), S queries, P positions of
the prefix, T own positions (T ≥ S: earlier ones lie in a cache), d size of a head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    """What every path takes: see `shared_prefix_attention`."""

    query: Tensor  # [B, H, S, d]
    prefix_key: Tensor  # [KV, P, d]
    prefix_value: Tensor  # [KV, P, d]
    key: Tensor  # [B, KV, T, d]
    value: Tensor  # [B, KV, T, d]
    starts: Tensor | None  # [B]
    ends: Tensor | None  # [B]
    scale: float


Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Of the five tensors, in their order."""


def visible_own(queries: int, own: int, starts: Tensor | None, ends: Tensor | None, device: object) -> Tensor:
    """Which own keys each query sees [B or 1, S, T]: none after itself (the last query stands at the last
    key), and of row b those from `starts[b]` up to, not including, `ends[b]` (both [B], integers)."""
    places = torch.arange(own, device=torch.device(str(device)))
    seen = torch.ones(queries, own, dtype=torch.bool, device=places.device).tril(own - queries)[None]
    if starts is not None:
        seen = seen & (places >= starts[:, None])[:, None]
    if ends is not None:
        seen = seen & (places < ends[:, None])[:, None]
    return seen


def definition(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Output [B, H, S, d] and log-sum-exp of the scores [B, H, S] (fp32, of fp64 fp64).

    Every query sees the whole prefix, and of its row's own keys those of `visible_own`. The softmax is in
    fp32, as transformers' eager attention has it. Differentiable by autograd in all five.
    """
    query, prefix_key, prefix_value, key, value, starts, ends, scale = inputs
    prefix = prefix_key.shape[1]
    scores = _scores(inputs)
    shares = scores.softmax(-1).to(query.dtype)
    output = torch.einsum("bkgsp,kpd->bkgsd", shares[..., :prefix], prefix_value)
    output = output + torch.einsum("bkgst,bktd->bkgsd", shares[..., prefix:], value)
    lse = scores.logsumexp(-1)
    return output.reshape(query.shape), lse.reshape(query.shape[:3])


def definition_backward(inputs: Inputs, grad: Tensor, output: Tensor, lse: Tensor) -> Gradients:
    """Gradients of the five tensors, in their order, from that of the output [B, H, S, d]: what autograd
    makes of `definition`, written out, since an operator's kernels cannot call autograd."""
    query, prefix_key, prefix_value, key, value, starts, ends, scale = inputs
    prefix, kv_heads = prefix_key.shape[1], len(prefix_key)
    scores = _scores(inputs)
    shares = (scores - _grouped(lse[..., None], kv_heads)).exp()
    d_output = _grouped(grad, kv_heads)
    before = torch.einsum("bkgsd,kpd->bkgsp", d_output, prefix_value)
    own = torch.einsum("bkgsd,bktd->bkgst", d_output, value)
    mean = (grad * output).to(shares.dtype).sum(-1, keepdim=True)
    d_shares = torch.cat([before, own], -1).to(shares.dtype) - _grouped(mean, kv_heads)
    d_scores = (shares * d_shares * scale).to(query.dtype)
    shares = shares.to(query.dtype)
    rows = _grouped(query, kv_heads)
    d_query = torch.einsum("bkgsp,kpd->bkgsd", d_scores[..., :prefix], prefix_key)
    d_query = d_query + torch.einsum("bkgst,bktd->bkgsd", d_scores[..., prefix:], key)
    return (
        d_query.reshape(query.shape),
        torch.einsum("bkgsp,bkgsd->kpd", d_scores[..., :prefix], rows),
        torch.einsum("bkgsp,bkgsd->kpd", shares[..., :prefix], d_output),
        torch.einsum("bkgst,bkgsd->bktd", d_scores[..., prefix:], rows),
        torch.einsum("bkgst,bkgsd->bktd", shares[..., prefix:], d_output),
    )


def _grouped(x: Tensor, kv_heads: int) -> Tensor:
    """[B, KV, G, S, n] of [B, H, S, n]."""
    return x.reshape(len(x), kv_heads, -1, *x.shape[2:])


def _scores(inputs: Inputs) -> Tensor:
    """[B, KV, G, S, P + T] in fp32, of fp64 in fp64; −∞ for what is not seen."""
    query, prefix_key, _, key, _, starts, ends, scale = inputs
    rows = _grouped(query, len(prefix_key))
    before = torch.einsum("bkgsd,kpd->bkgsp", rows, prefix_key)
    own = torch.einsum("bkgsd,bktd->bkgst", rows, key)
    seen = visible_own(query.shape[2], key.shape[2], starts, ends, query.device)
    together = torch.cat([before, own.masked_fill(~seen[:, None, None], -torch.inf)], -1)
    return together.to(torch.promote_types(query.dtype, torch.float32)) * scale
