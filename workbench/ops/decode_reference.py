"""The decode step in plain PyTorch: its definition, and what runs where the native one cannot."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import linear, rms_norm, silu

from workbench.ops.decoder import DecoderWeights, Row, Segment


def decode_reference(weights: DecoderWeights, tokens: Tensor, rows: Sequence[Row]) -> Tensor:
    """Logits [B, V] in fp32 after one more token [B] for each row, whose keys and values are written.

    Any device and floating type; activations are of the weights' type. Follows transformers' Llama.
    """
    heads, kv_heads, head_dim = weights.heads, weights.kv_heads, weights.head_dim
    batch = len(rows)
    positions = torch.tensor([row.length for row in rows], device=weights.cos.device)
    cos = weights.cos[positions][:, None].to(weights.dtype)
    sin = weights.sin[positions][:, None].to(weights.dtype)
    chains = _chains(rows)
    x = weights.embedding[tokens]
    size = [x.shape[-1]]
    for number, layer in enumerate(weights.layers):
        qkv = linear(rms_norm(x, size, layer.input_norm, weights.eps), layer.qkv, layer.qkv_bias)
        query, key, value = qkv.view(batch, -1, head_dim).split([heads, kv_heads, kv_heads], 1)
        if layer.q_norm is not None:
            query = rms_norm(query, [head_dim], layer.q_norm, weights.eps)
        if layer.k_norm is not None:
            key = rms_norm(key, [head_dim], layer.k_norm, weights.eps)
        query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
        for index, row in enumerate(rows):
            own = row.segments[-1]
            own.keys[number, :, own.length] = key[index]
            own.values[number, :, own.length] = value[index]
        attended = torch.empty_like(query)
        for shared, members in chains:
            own_segments = [rows[index].segments[-1] for index in members]
            attended[members] = _attend(query[members], shared, own_segments, number, weights.scaling)
        x = x + linear(attended.reshape(batch, -1), layer.output, layer.output_bias)
        gate, up = linear(rms_norm(x, size, layer.post_norm, weights.eps), layer.gate_up).chunk(2, -1)
        x = x + linear(silu(gate) * up, layer.down)
    return linear(rms_norm(x, size, weights.norm, weights.eps), weights.head).float()


def _chains(rows: Sequence[Row]) -> list[tuple[list[Segment], list[int]]]:
    """Rows that share all segments but the last: those segments, and the numbers of the rows."""
    chains: dict[tuple[int, ...], tuple[list[Segment], list[int]]] = {}
    for index, row in enumerate(rows):
        shared = row.segments[:-1]
        chains.setdefault(tuple(map(id, shared)), (shared, []))[1].append(index)
    return list(chains.values())


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def _attend(
    query: Tensor, shared: list[Segment], own: list[Segment], layer: int, scaling: float
) -> Tensor:
    """[b, H, hd] of queries [b, H, hd] to segments that all share, and to each one's own with the new token."""
    batch, heads, head_dim = query.shape
    kv_heads = own[0].keys.shape[1]
    group = heads // kv_heads
    starts = [0]
    for segment in shared:
        starts.append(starts[-1] + segment.length)
    common, longest = starts[-1], max(segment.length for segment in own) + 1
    # One product a segment for all rows together: KV matrices of b · group queries.
    together = query.view(batch, kv_heads, group, head_dim).transpose(0, 1).reshape(kv_heads, -1, head_dim)
    scores = query.new_full((kv_heads, batch, group, common + longest), -torch.inf)
    for segment, (start, end) in zip(shared, pairwise(starts), strict=True):
        keys = segment.keys[layer, :, : segment.length]
        scores[..., start:end] = (together @ keys.transpose(1, 2)).view(kv_heads, batch, group, -1)
    apart = together.view(kv_heads, batch, group, head_dim)
    for index, segment in enumerate(own):
        keys = segment.keys[layer, :, : segment.length + 1]
        scores[:, index, :, common : common + segment.length + 1] = apart[:, index] @ keys.transpose(1, 2)
    probabilities = (scores.float() * scaling).softmax(-1).to(query.dtype)
    attended = torch.zeros_like(apart)
    for segment, (start, end) in zip(shared, pairwise(starts), strict=True):
        of_segment = probabilities[..., start:end].reshape(kv_heads, batch * group, -1)
        attended += (of_segment @ segment.values[layer, :, : segment.length]).view_as(attended)
    for index, segment in enumerate(own):
        of_row = probabilities[:, index, :, common : common + segment.length + 1]
        attended[:, index] += of_row @ segment.values[layer, :, : segment.length + 1]
    return attended.transpose(0, 1).reshape(batch, heads, head_dim)
