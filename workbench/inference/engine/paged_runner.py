"""Llama-shaped decoders on fused weights, with keys and values in blocks that sequences share.

A sequence is a chain of blocks: whole ones of its prompt, which all prompts that begin alike share; the
rest of its prompt, which all samples of it share; and blocks of its own. Nothing is copied when a sample
begins, and nothing is concatenated when it goes on.

Prompts are read in chunks that are cut at the same places whatever is in the cache, and the last token of
a prompt takes the decode step, which gives the same bits whatever is beside it: so an answer to a seeded
request does not depend on what else the engine does or has done.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass, field

import torch
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

from workbench.inference.engine.prompt_cache import PromptCache, block_keys
from workbench.ops.decode import DecoderLayer, DecoderWeights, Row, Segment, choose, decode_step

BLOCK = 128
"""Tokens of a block. A product of 128 rows is within 10 % of the speed of one of 512 on two cores."""


@dataclass(eq=False)
class _Prefill:
    prompt: tuple[int, ...]
    keys: list[bytes]
    exact_so_far: bool
    all_logits: bool
    cached: int
    blocks: list[Segment]
    remaining: int


@dataclass(eq=False)
class _Handle:
    row: Row
    capacity: int
    prompt: _Prefill
    length: int = field(default=0)


class PagedRunner:
    """Runs one model from its fused weights; `max_length` is bounded by the rotary angles there are."""

    shares_prompt = True

    def __init__(self, weights: DecoderWeights) -> None:
        self.weights = weights
        self.vocabulary = weights.head.shape[0]
        self.max_length = weights.cos.shape[0]
        size = weights.embedding.element_size()
        self.bytes_per_token = 2 * len(weights.layers) * weights.kv_heads * weights.head_dim * size
        choice = choose(weights)
        self.batch_invariant = choice.native
        self.name = f"{'native' if choice.native else 'PyTorch'} ({choice.reason})"
        self._cache: PromptCache[Segment] = PromptCache()
        self._past = [self._new(BLOCK) for _ in range(2)]

    def _new(self, tokens: int) -> torch.Tensor:
        w = self.weights
        shape = (len(w.layers), w.kv_heads, tokens, w.head_dim)
        return torch.empty(shape, dtype=w.dtype, device=w.embedding.device)

    def _segment(self, tokens: int) -> Segment:
        return Segment(self._new(tokens), self._new(tokens), 0)

    def room(self, prompt: int) -> int:
        """See `Runner.room`."""
        return self.max_length - prompt

    def begin(self, prompt: Many[int], *, exact: bool = False, all_logits: bool = False) -> _Prefill:
        """See `Runner.begin`. The last token is always read, for its logits are what is wanted."""
        keys = block_keys(prompt[:-1], BLOCK)
        blocks = [] if all_logits else self._cache.find(keys, exact=exact)
        cached = len(blocks) * BLOCK
        self._reserve(len(prompt))
        for place, block in enumerate(blocks):
            for past, part in zip(self._past, (block.keys, block.values), strict=True):
                past[:, :, place * BLOCK : (place + 1) * BLOCK] = part
        exact_so_far = len(self._cache.find(keys[: len(blocks)], exact=True)) == len(blocks)
        return _Prefill(tuple(prompt), keys, exact_so_far, all_logits, cached, blocks, len(prompt) - cached)

    def _reserve(self, length: int) -> None:
        """Make room for the keys and values of the one prompt that is being read, side by side."""
        if self._past[0].shape[2] < length:
            room = min(self.max_length, 1 << (length - 1).bit_length())
            self._past = [self._new(room) for _ in range(2)]

    def advance(self, prefill: _Prefill) -> torch.Tensor | None:
        """See `Runner.advance`."""
        start = len(prefill.prompt) - prefill.remaining
        ids = prefill.prompt[start : start + BLOCK]
        is_last = start + len(ids) == len(prefill.prompt)
        block = self._segment(len(ids))
        read = len(ids) - 1 if is_last and not prefill.all_logits else len(ids)
        hidden = self._read(ids[:read], start, block) if read else None
        block.length = read
        prefill.remaining -= len(ids)
        logits = None
        if prefill.all_logits:
            assert hidden is not None
            logits = linear(hidden.float(), self.weights.head.float())
        elif is_last:
            row = Row([*prefill.blocks, block])
            logits = decode_step(self.weights, torch.tensor([ids[-1]]), [row])[0]
        block.length = len(ids)
        prefill.blocks.append(block)
        if not is_last:
            size = BLOCK * self.bytes_per_token
            self._cache.put(prefill.keys[start // BLOCK], block, size, is_exact=prefill.exact_so_far)
        return logits

    def _read(self, ids: Many[int], start: int, block: Segment) -> torch.Tensor:
        """The final hidden states [n, D] of tokens that stand at `start`; their keys and values go into the
        block, and to the others of the prompt."""
        w, n = self.weights, len(ids)
        end = start + n
        x = w.embedding[torch.tensor(ids, device=w.embedding.device)].float()
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
        w = self.weights
        parts = linear(self._normed(x, layer.input_norm), layer.qkv, layer.qkv_bias)
        parts = parts.view(len(x), w.heads + 2 * w.kv_heads, w.head_dim)
        q, k, v = parts.split([w.heads, w.kv_heads, w.kv_heads], 1)
        if layer.q_norm is not None and layer.k_norm is not None:
            q = rms_norm(q.float(), q.shape[-1:], layer.q_norm.float(), w.eps)
            k = rms_norm(k.float(), k.shape[-1:], layer.k_norm.float(), w.eps)
        turned = [_turn(part.float(), cos, sin).to(w.dtype).transpose(0, 1) for part in (q, k)]
        return turned[0], turned[1], v.transpose(0, 1)

    def _normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return rms_norm(x, x.shape[-1:], weight.float(), self.weights.eps).to(self.weights.dtype)

    def open(self, prefill: _Prefill, capacity: int, *, alone: bool = False) -> _Handle:
        """See `Runner.open`."""
        return _Handle(Row(list(prefill.blocks)), capacity, prefill, len(prefill.prompt))

    def decode(self, handles: Many[_Handle], tokens: Many[int]) -> torch.Tensor:
        """See `Runner.decode`."""
        for handle in handles:
            own = handle.row.segments[-1]
            is_shared = len(handle.row.segments) == len(handle.prompt.blocks)
            if is_shared or own.length == own.room:
                left = handle.capacity - (handle.length - len(handle.prompt.prompt))
                handle.row.segments.append(self._segment(min(BLOCK, max(1, left))))
        logits = decode_step(self.weights, torch.tensor(tokens), [handle.row for handle in handles])
        for handle in handles:
            handle.row.segments[-1].length += 1
            handle.length += 1
        return logits

    def close(self, handle: _Handle, ids: Many[int] | None = None) -> None:
        """See `Runner.close`."""
        if ids is None:
            return
        whole = len(handle.prompt.prompt[:-1]) // BLOCK
        keys = block_keys(ids, BLOCK)[whole:]
        if not keys:
            return
        rest = handle.row.segments[whole:]
        keys_, values = (
            torch.cat([getattr(part, name)[:, :, : part.length] for part in rest], 2)
            for name in ("keys", "values")
        )
        for place, key in enumerate(keys):
            if key not in self._cache:
                cut = slice(place * BLOCK, (place + 1) * BLOCK)
                block = Segment(keys_[:, :, cut].contiguous(), values[:, :, cut].contiguous(), BLOCK)
                self._cache.put(key, block, BLOCK * self.bytes_per_token, is_exact=False)

    def forget(self, prefill: _Prefill) -> None:
        """See `Runner.forget`: memory goes with the last reference."""

    def cached_bytes(self) -> int:
        """See `Runner.cached_bytes`."""
        return self._cache.bytes

    def shrink(self, wanted: int) -> None:
        """See `Runner.shrink`."""
        self._cache.shrink(wanted)


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021), the halves of a head as pairs."""
    one, other = x.chunk(2, -1)
    return x * cos + torch.cat((-other, one), -1) * sin
