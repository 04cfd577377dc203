"""Reading a chunk of a prompt into a block of keys and values: natively where that is fast, else in PyTorch.

The native reader gives the bits that decode steps give, wherever a prompt is cut. PyTorch's products give
others for other cuts, but the same for the same.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import Literal, Protocol

import torch
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

from workbench.ops.decode import DecoderLayer, DecoderWeights, Row, Segment, choose, decode_step, prefill

Wanted = Literal["none", "last", "all"]


class PromptReader(Protocol):
    """Reads one prompt after the other; a prompt may be given up half way."""

    is_canonical: bool
    """Whether keys, values and logits are those of decode steps, bit for bit, for any cut."""

    def start(self, length: int, blocks: Many[Segment]) -> None:
        """Make ready for a prompt of so many tokens, the first of which are in whole `blocks`."""
        ...

    def read(self, ids: torch.Tensor, blocks: Many[Segment], block: Segment, wanted: Wanted) -> torch.Tensor:
        """Read `ids` [n], which follow those of the blocks, into a new block; their logits [n, V], those
        of the last [1, V], or [0, V]. The block's length is n afterwards."""
        ...


def prompt_reader(weights: DecoderWeights) -> PromptReader:
    """The faster one for these weights on this machine."""
    return NativeReader(weights) if choose(weights).prefill else TorchReader(weights)


class NativeReader:
    """See `ops.prefill`."""

    is_canonical = True

    def __init__(self, weights: DecoderWeights) -> None:
        self._weights = weights

    def start(self, length: int, blocks: Many[Segment]) -> None:
        """See `PromptReader.start`: it reads blocks where they are."""

    def read(self, ids: torch.Tensor, blocks: Many[Segment], block: Segment, wanted: Wanted) -> torch.Tensor:
        """See `PromptReader.read`."""
        logits = prefill(self._weights, ids, Row([*blocks, block]), logits=wanted)
        block.length = len(ids)
        return logits


class TorchReader:
    """Keys and values of the one prompt in work lie side by side, as PyTorch's attention wants them.

    The last token of a prompt takes the decode step, whose bits do not depend on what is beside it.
    """

    is_canonical = False

    def __init__(self, weights: DecoderWeights) -> None:
        self._weights = weights
        self._past = self._new(0)

    def _new(self, tokens: int) -> list[torch.Tensor]:
        w = self._weights
        shape = (len(w.layers), w.kv_heads, tokens, w.head_dim)
        return [torch.empty(shape, dtype=w.dtype, device=w.embedding.device) for _ in range(2)]

    def start(self, length: int, blocks: Many[Segment]) -> None:
        """See `PromptReader.start`."""
        if self._past[0].shape[2] < length:
            longest = self._weights.cos.shape[0]
            self._past = self._new(min(longest, 1 << (length - 1).bit_length()))
        start = 0
        for block in blocks:
            end = start + block.length
            for past, part in zip(self._past, (block.keys, block.values), strict=True):
                past[:, :, start:end] = part[:, :, : block.length]
            start = end

    def read(self, ids: torch.Tensor, blocks: Many[Segment], block: Segment, wanted: Wanted) -> torch.Tensor:
        """See `PromptReader.read`."""
        w, start = self._weights, sum(part.length for part in blocks)
        inside = ids[:-1] if wanted == "last" else ids
        embedded = w.embedding[inside.to(w.embedding.device)]
        hidden = self._hidden(embedded, start, block) if len(inside) else None
        block.length = len(inside)
        if wanted == "last":
            logits = decode_step(w, ids[-1:], [Row([*blocks, block])])
            block.length = len(ids)
            return logits
        if hidden is None or wanted == "none":
            return torch.empty(0, w.head.shape[0])
        return linear(hidden, w.head).float()

    def read_vectors(self, vectors: torch.Tensor, block: Segment) -> None:
        """Read embeddings [n, D] that stand at the very beginning, a soft prompt's, into a new block."""
        self.start(len(vectors), [])
        self._hidden(vectors, 0, block)
        block.length = len(vectors)

    def _hidden(self, embedded: torch.Tensor, start: int, block: Segment) -> torch.Tensor:
        """The final hidden states [n, D] of tokens that stand at `start`, by their embeddings; their keys and
        values go into the block, and to the others of the prompt."""
        w, n = self._weights, len(embedded)
        end = start + n
        x = embedded.float()
        cos, sin = w.cos[start:end, None], w.sin[start:end, None]
        mask = None
        if start:
            mask = torch.ones(n, end, dtype=torch.bool, device=x.device).tril(start)
        for place, layer in enumerate(w.layers):
            q, k, v = self._project(layer, x, cos, sin)
            for past, own, new in (
                (self._past[0], block.keys, k),
                (self._past[1], block.values, v),
            ):
                past[place, :, start:end] = new
                own[place, :, :n] = new
            seen = scaled_dot_product_attention(
                q[None],
                self._past[0][None, place, :, :end],
                self._past[1][None, place, :, :end],
                attn_mask=mask,
                is_causal=mask is None,
                scale=w.scaling,
                enable_gqa=True,
            )[0]
            seen = seen.transpose(0, 1).reshape(n, -1)
            x = x + linear(seen, layer.output, layer.output_bias)
            gate, up = linear(self._normed(x, layer.post_norm), layer.gate_up).chunk(2, -1)
            x = x + linear(silu(gate) * up, layer.down)
        return self._normed(x, w.norm)

    def _project(
        self, layer: DecoderLayer, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries [H, n, hd], keys and values [KV, n, hd] with their positions turned in."""
        w = self._weights
        parts = linear(self._normed(x, layer.input_norm), layer.qkv, layer.qkv_bias)
        parts = parts.view(len(x), w.heads + 2 * w.kv_heads, w.head_dim)
        q, k, v = parts.split([w.heads, w.kv_heads, w.kv_heads], 1)
        if layer.q_norm is not None and layer.k_norm is not None:
            q = rms_norm(q.float(), q.shape[-1:], layer.q_norm.float(), w.eps)
            k = rms_norm(k.float(), k.shape[-1:], layer.k_norm.float(), w.eps)
        turned = [_turn(part.float(), cos, sin).to(w.dtype).transpose(0, 1) for part in (q, k)]
        return turned[0], turned[1], v.transpose(0, 1)

    def _normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return rms_norm(x, x.shape[-1:], weight.float(), self._weights.eps).to(self._weights.dtype)


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021), the halves of a head as pairs."""
    one, other = x.chunk(2, -1)
    return x * cos + torch.cat((-other, one), -1) * sin
