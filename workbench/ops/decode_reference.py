"""Steps of a decoder in plain PyTorch: their definition, and what runs where the native ones cannot.

Any device and floating type; activations are of the weights' type. Follows transformers' Llama.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import linear, rms_norm, silu

from workbench.ops.decoder import DecoderLayer, DecoderWeights, Row, Segment


def decode_reference(weights: DecoderWeights, tokens: Tensor, rows: Sequence[Row]) -> Tensor:
    """See `decode_step`."""
    angles = angles_of(weights, [row.length for row in rows])
    chains = _chains(rows)
    x = weights.embedding[tokens]
    for number, layer in enumerate(weights.layers):
        query, key, value = _project(weights, layer, x, angles)
        for index, row in enumerate(rows):
            own = row.segments[-1]
            own.keys[number, :, own.length] = key[index]
            own.values[number, :, own.length] = value[index]
        attended = torch.empty_like(query)
        for shared, members in chains:
            own_segments = [rows[index].segments[-1] for index in members]
            attended[members] = _attend_shared(query[members], shared, own_segments, number, weights.scaling)
        x = finish(weights, layer, x, attended)
    return logits_of(weights, x)


def prefill_reference(weights: DecoderWeights, tokens: Tensor, row: Row, wanted: Sequence[int]) -> Tensor:
    """See `prefill`; the logits are those of the tokens with the numbers `wanted`."""
    count, past, own = len(tokens), row.length, row.segments[-1]
    angles = angles_of(weights, range(past, past + count))
    future = torch.ones(count, past + count, dtype=torch.bool, device=tokens.device).triu(past + 1)
    x = weights.embedding[tokens]
    for number, layer in enumerate(weights.layers):
        query, key, value = _project(weights, layer, x, angles)
        place = slice(own.length, own.length + count)
        own.keys[number, :, place] = key.transpose(0, 1)
        own.values[number, :, place] = value.transpose(0, 1)
        lengths = [segment.length for segment in row.segments]
        lengths[-1] += count
        keys, values = (
            torch.cat([tensor[number, :, :n] for tensor, n in zip(tensors, lengths, strict=True)], 1)
            for tensors in ([s.keys for s in row.segments], [s.values for s in row.segments])
        )
        # [KV, group, n, hd], a key/value head's queries together.
        query = query.view(count, weights.kv_heads, -1, weights.head_dim).permute(1, 2, 0, 3)
        scores = (query @ keys[:, None].transpose(2, 3)).masked_fill(future, -torch.inf)
        attended = _softmax(scores, weights.scaling) @ values[:, None]
        x = finish(weights, layer, x, attended.permute(2, 0, 1, 3))
    return logits_of(weights, x[list(wanted)])


def angles_of(weights: DecoderWeights, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
    """cos and sin [n, 1, hd] of positions, in the weights' type."""
    places = torch.tensor(positions, device=weights.cos.device)
    cos, sin = (table[places][:, None].to(weights.dtype) for table in (weights.cos, weights.sin))
    return cos, sin


def _project(
    weights: DecoderWeights, layer: DecoderLayer, x: Tensor, angles: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [n, H, hd] and keys [n, KV, hd] with their positions turned in, and values [n, KV, hd]."""
    query, key, value = project(weights, layer, x)
    return rotate(query, *angles), rotate(key, *angles), value


def project(weights: DecoderWeights, layer: DecoderLayer, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [n, H, hd], keys [n, KV, hd] and values [n, KV, hd] of hidden states [n, D], positions not
    turned in yet."""
    qkv = linear(rms_norm(x, x.shape[-1:], layer.input_norm, weights.eps), layer.qkv, layer.qkv_bias)
    heads, kv_heads = weights.heads, weights.kv_heads
    query, key, value = qkv.view(len(x), -1, weights.head_dim).split([heads, kv_heads, kv_heads], 1)
    if layer.q_norm is not None:
        query = rms_norm(query, query.shape[-1:], layer.q_norm, weights.eps)
    if layer.k_norm is not None:
        key = rms_norm(key, key.shape[-1:], layer.k_norm, weights.eps)
    return query, key, value


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs of vectors [n, H, hd] by angles whose cos and sin are [n, 1, hd]."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def _softmax(scores: Tensor, scaling: float) -> Tensor:
    return (scores.float() * scaling).softmax(-1).to(scores.dtype)


def finish(weights: DecoderWeights, layer: DecoderLayer, x: Tensor, attended: Tensor) -> Tensor:
    """The hidden state [n, D] after a layer, from that before it and the heads' results."""
    x = x + linear(attended.reshape(len(x), -1), layer.output, layer.output_bias)
    gate, up = linear(rms_norm(x, x.shape[-1:], layer.post_norm, weights.eps), layer.gate_up).chunk(2, -1)
    return x + linear(silu(gate) * up, layer.down)


def logits_of(weights: DecoderWeights, x: Tensor) -> Tensor:
    """[n, V] in fp32 of the last layer's hidden states [n, D]."""
    return linear(rms_norm(x, x.shape[-1:], weights.norm, weights.eps), weights.head).float()


def _chains(rows: Sequence[Row]) -> list[tuple[list[Segment], list[int]]]:
    """Rows that share all segments but the last: those segments, and the numbers of the rows."""
    chains: dict[tuple[int, ...], tuple[list[Segment], list[int]]] = {}
    for index, row in enumerate(rows):
        shared = row.segments[:-1]
        chains.setdefault(tuple(map(id, shared)), (shared, []))[1].append(index)
    return list(chains.values())


def _attend_shared(
    query: Tensor, shared: list[Segment], own: list[Segment], layer: int, scaling: float
) -> Tensor:
    """[b, H, hd] of queries [b, H, hd] to segments that all share, and to each one's own and new token."""
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
    probabilities = _softmax(scores, scaling)
    attended = torch.zeros_like(apart)
    for segment, (start, end) in zip(shared, pairwise(starts), strict=True):
        of_segment = probabilities[..., start:end].reshape(kv_heads, batch * group, -1)
        attended += (of_segment @ segment.values[layer, :, : segment.length]).view_as(attended)
    for index, segment in enumerate(own):
        of_row = probabilities[:, index, :, common : common + segment.length + 1]
        attended[:, index] += of_row @ segment.values[layer, :, : segment.length + 1]
    return attended.transpose(0, 1).reshape(batch, heads, head_dim)
