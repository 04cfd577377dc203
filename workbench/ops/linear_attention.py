"""Linear attention: a kernel in place of the softmax, so that what was read is a sum of constant size.

Katharopoulos et al. 2020, equations 7 to 12, with their φ(x) = elu(x) + 1. Query i gets Σ_j (R_i φ(q_i) ·
R_j φ(k_j)) v_j / Σ_j φ(q_i) · φ(k_j) over the keys j ≤ i of its document: rotary positions turn the features
above the line alone, so that what is below stays positive (Su et al. 2021, RoFormer, equation 19).

In training it is computed chunk by chunk: within a chunk as a product of all pairs, before it from the sum
that the chunks before it left. B rows, H heads of queries, G of keys, L tokens, d the size of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import elu, pad

CHUNK = 64
EPSILON = 1e-6
"""Added to what is divided by, as in the authors' code: with features of zero nothing is divided by zero."""


@dataclass
class State:
    """What is left of all tokens read: `values` [B, G, d, d], the sum of R_j φ(k_j) v_jᵀ, and `norm`
    [B, G, d], the sum of φ(k_j); fp32, whatever the model's precision."""

    values: Tensor
    norm: Tensor


def features(x: Tensor) -> Tensor:
    """φ, in fp32 (fp64 of fp64): sums over long rows lose too much in less."""
    return elu(x.to(torch.promote_types(x.dtype, torch.float32))) + 1


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs (i, i + d/2) by the angles of their positions [B or 1, L, d]."""
    first, second = x.chunk(2, -1)
    turned = torch.cat((-second, first), -1)
    return x * cos[:, None].to(x.dtype) + turned * sin[:, None].to(x.dtype)


def linear_definition(
    query: Tensor, key: Tensor, value: Tensor, cos: Tensor, sin: Tensor, documents: Tensor | None = None
) -> Tensor:
    """All pairs at once: output [B, H, L, d] of queries [B, H, L, d], keys and values [B, G, L, d] that are
    not rotated yet, cos and sin of the angles [B or 1, L, d], numbers of documents [B, L] (−1: padding)."""
    length, groups = query.shape[2], query.shape[1] // key.shape[1]
    of_query = features(query)
    of_key = features(key).repeat_interleave(groups, 1)
    values = value.to(of_key.dtype).repeat_interleave(groups, 1)
    seen = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()[None]
    if documents is not None:
        seen = seen & (documents[:, :, None] == documents[:, None])
    weights = rotate(of_query, cos, sin) @ rotate(of_key, cos, sin).transpose(2, 3) * seen[:, None]
    norm = (of_query @ of_key.transpose(2, 3) * seen[:, None]).sum(-1, keepdim=True)
    return (weights @ values / (norm + EPSILON)).to(query.dtype)


def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    documents: Tensor | None = None,
    state: State | None = None,
    chunk: int = CHUNK,
) -> tuple[Tensor, State]:
    """As `linear_definition`, in time and memory proportional to the length; and the state after the last
    token, of its document alone. `state` is what was read before, of the first token's document."""
    batch, heads, length, size = query.shape
    kv_heads = key.shape[1]
    if documents is None:
        documents = torch.zeros(1, length, dtype=torch.int64, device=query.device).expand(batch, -1)
    real = (documents >= 0)[:, None, :, None]
    of_query, of_key = features(query), features(key)
    # Padding leaves nothing behind.
    of_key = torch.where(real, of_key, 0)
    turned_query, turned_key = rotate(of_query, cos, sin), rotate(of_key, cos, sin)
    values = value.to(of_key.dtype)
    room = -length % chunk
    count = (length + room) // chunk

    def cut(x: Tensor) -> Tensor:
        """[B, G, N, …, chunk, d]; the queries of the heads that share keys lie side by side."""
        whole: Tensor = pad(x, (0, 0, 0, room)).reshape(batch, x.shape[1], count, chunk, -1)
        pieces: Tensor = whole.unflatten(1, (kv_heads, -1)).transpose(2, 3)
        return pieces

    numbers = pad(documents, (0, room), value=-1).reshape(batch, count, chunk)
    qs, turned_qs = cut(of_query), cut(turned_query)
    ks, turned_ks, vs = (cut(x) for x in (of_key, turned_key, values))
    within = (numbers[..., :, None] == numbers[..., None, :]).tril()[:, None, :, None]
    weights = (turned_qs @ turned_ks.transpose(-1, -2)) * within
    above = weights @ vs
    below = ((qs @ ks.transpose(-1, -2)) * within).sum(-1, keepdim=True)
    # Of the sums at a chunk's end only what belongs to the document of its last token goes on.
    last = _last_real(numbers, documents)
    kept = (numbers == last[..., None])[:, None, :, None, :, None]
    added = torch.einsum("bgnxcd,bgnxce->bgnde", turned_ks * kept, vs)
    added_norm = (ks * kept).sum((3, 4))
    started = state or State(
        added.new_zeros(batch, kv_heads, size, size), added.new_zeros(batch, kv_heads, size)
    )
    carried = torch.ones_like(last, dtype=torch.bool)
    carried[:, 1:] = last[:, 1:] == last[:, :-1]
    first = documents[:, 0]
    carried[:, 0] = (last[:, 0] == first) | (first < 0)
    before, sums, norms = _scan(added, added_norm, carried, started)
    # Queries that see what came before: those of the document that the chunk before ended in.
    previous = torch.cat([torch.where(first < 0, last[:, 0], first)[:, None], last[:, :-1]], 1)
    goes_on = (numbers == previous[..., None])[:, None, :, None, :, None]
    above = above + (turned_qs * goes_on) @ sums[:, :, :, None]
    below = below + (qs * goes_on) @ norms[:, :, :, None, :, None]
    output = (above / (below + EPSILON)).transpose(2, 3).flatten(1, 2).flatten(2, 3)
    return output[:, :, :length].to(query.dtype), before


def _last_real(numbers: Tensor, documents: Tensor) -> Tensor:
    """The document [B, N] that each chunk ends in, padding passed over; −2 where there was none yet."""
    flat = numbers.flatten(1)
    places = torch.arange(flat.shape[1], device=flat.device)
    at = torch.where(flat >= 0, places, -1).cummax(1).values.unflatten(1, numbers.shape[1:])[..., -1]
    return torch.where(at >= 0, flat.gather(1, at.clamp(min=0)), -2)


def _scan(added: Tensor, added_norm: Tensor, carried: Tensor, state: State) -> tuple[State, Tensor, Tensor]:
    """The state after all chunks, and the sums before each."""
    values, norm = state.values.to(added.dtype), state.norm.to(added.dtype)
    sums, norms = [], []
    whole = bool(carried.all())
    for number in range(added.shape[2]):
        sums.append(values)
        norms.append(norm)
        if not whole:
            keep = carried[:, number].to(added.dtype)
            values, norm = values * keep[:, None, None, None], norm * keep[:, None, None]
        values, norm = values + added[:, :, number], norm + added_norm[:, :, number]
    return State(values, norm), torch.stack(sums, 2), torch.stack(norms, 2)


def linear_step(query: Tensor, key: Tensor, value: Tensor, cos: Tensor, sin: Tensor, state: State) -> Tensor:
    """One token for each row [B, H or G, 1, d]: its output [B, H, 1, d]; the state takes it in, in place."""
    of_query, of_key = features(query), features(key)
    turned_query, turned_key = rotate(of_query, cos, sin), rotate(of_key, cos, sin)
    state.values += turned_key.transpose(2, 3) @ value.to(of_key.dtype)
    state.norm += of_key[:, :, 0]
    groups = key.shape[1]
    above = turned_query.unflatten(1, (groups, -1))[:, :, :, 0] @ state.values
    below = of_query.unflatten(1, (groups, -1))[:, :, :, 0] @ state.norm[..., None]
    output: Tensor = (above / (below + EPSILON)).flatten(1, 2)[:, :, None].to(query.dtype)
    return output
