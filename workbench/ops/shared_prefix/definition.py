"""What shared-prefix attention is, in plain PyTorch: any device and floating type.

Letters: B rows of the batch, H query heads, KV key/value heads (H is a multiple), S queries, P positions of
the prefix, T own positions (T ≥ S: earlier ones lie in a cache), d size of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor


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


def definition(
    query: Tensor,
    prefix_key: Tensor,
    prefix_value: Tensor,
    key: Tensor,
    value: Tensor,
    starts: Tensor | None,
    ends: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Output [B, H, S, d] and log-sum-exp of the scores [B, H, S] (fp32, of fp64 fp64).

    query [B, H, S, d]; prefix_key, prefix_value [KV, P, d]; key, value [B, KV, T, d]. Every query sees the
    whole prefix, and of its row's own keys those of `visible_own`. The softmax is in fp32, as transformers'
    eager attention has it. Differentiable by autograd in all five.
    """
    prefix = prefix_key.shape[1]
    scores = _scores(query, prefix_key, key, starts, ends, scale)
    shares = scores.softmax(-1).to(query.dtype)
    output = torch.einsum("bkgsp,kpd->bkgsd", shares[..., :prefix], prefix_value)
    output = output + torch.einsum("bkgst,bktd->bkgsd", shares[..., prefix:], value)
    lse = scores.logsumexp(-1)
    return output.reshape(query.shape), lse.reshape(query.shape[:3])


def definition_backward(
    grad: Tensor,
    query: Tensor,
    prefix_key: Tensor,
    prefix_value: Tensor,
    key: Tensor,
    value: Tensor,
    starts: Tensor | None,
    ends: Tensor | None,
    scale: float,
    output: Tensor,
    lse: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the five tensors, in their order, from that of the output [B, H, S, d]: what autograd
    makes of `definition`, written out, since an operator's kernels cannot call autograd."""
    prefix, kv_heads = prefix_key.shape[1], len(prefix_key)
    scores = _scores(query, prefix_key, key, starts, ends, scale)
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


def _scores(
    query: Tensor, prefix_key: Tensor, key: Tensor, starts: Tensor | None, ends: Tensor | None, scale: float
) -> Tensor:
    """[B, KV, G, S, P + T] in fp32, of fp64 in fp64; −∞ for what is not seen."""
    rows = _grouped(query, len(prefix_key))
    before = torch.einsum("bkgsd,kpd->bkgsp", rows, prefix_key)
    own = torch.einsum("bkgsd,bktd->bkgst", rows, key)
    seen = visible_own(query.shape[2], key.shape[2], starts, ends, query.device)
    together = torch.cat([before, own.masked_fill(~seen[:, None, None], -torch.inf)], -1)
    return together.to(torch.promote_types(query.dtype, torch.float32)) * scale
