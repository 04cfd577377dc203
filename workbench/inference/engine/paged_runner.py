"""Llama-shaped decoders on fused weights, with keys and values in blocks that sequences share.

A sequence is a chain of blocks: whole ones of its prompt, which all prompts that begin alike share; the
rest of its prompt, which all samples of it share; and blocks of its own. Nothing is copied when a sample
begins, and nothing is concatenated when it goes on.

Prompts are read in chunks that are cut at the same places whatever is in the cache, and blocks know whether
reading would give their very bits: so an answer to a seeded request does not depend on what else the engine
does or has done.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass, field

import torch

from workbench.inference.engine.prompt_cache import PromptCache, block_keys
from workbench.inference.engine.prompt_readers import Wanted, prompt_reader
from workbench.ops.decode import DecoderWeights, Row, Segment, choose, decode_step

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
        self._reader = prompt_reader(weights)
        self._cache: PromptCache[Segment] = PromptCache()
        self._logits = torch.empty(0, self.vocabulary)

    def _segment(self, tokens: int) -> Segment:
        w = self.weights
        shape = (2, len(w.layers), w.kv_heads, tokens, w.head_dim)
        keys, values = torch.empty(shape, dtype=w.dtype, device=w.embedding.device)
        return Segment(keys, values, 0)

    def room(self, prompt: int) -> int:
        """See `Runner.room`."""
        return self.max_length - prompt

    def begin(self, prompt: Many[int], *, exact: bool = False, all_logits: bool = False) -> _Prefill:
        """See `Runner.begin`. The last token is always read, for its logits are what is wanted."""
        keys = block_keys(prompt[:-1], BLOCK)
        blocks = [] if all_logits else self._cache.find(keys, exact=exact)
        cached = len(blocks) * BLOCK
        self._reader.start(len(prompt), blocks)
        exact_so_far = len(self._cache.find(keys[: len(blocks)], exact=True)) == len(blocks)
        return _Prefill(tuple(prompt), keys, exact_so_far, all_logits, cached, blocks, len(prompt) - cached)

    def advance(self, prefill: _Prefill) -> torch.Tensor | None:
        """See `Runner.advance`."""
        start = len(prefill.prompt) - prefill.remaining
        ids = prefill.prompt[start : start + BLOCK]
        is_last = start + len(ids) == len(prefill.prompt)
        block = self._segment(len(ids))
        wanted: Wanted = "all" if prefill.all_logits else "last" if is_last else "none"
        logits = self._reader.read(torch.tensor(ids), prefill.blocks, block, wanted)
        prefill.remaining -= len(ids)
        prefill.blocks.append(block)
        if not is_last:
            size = BLOCK * self.bytes_per_token
            self._cache.put(prefill.keys[start // BLOCK], block, size, is_exact=prefill.exact_so_far)
        if wanted == "none":
            return None
        return logits if wanted == "all" else logits[0]

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
        if len(self._logits) < len(handles):
            self._logits = torch.empty(len(handles), self.vocabulary)
        out = self._logits[: len(handles)]
        decode_step(self.weights, torch.tensor(tokens), [handle.row for handle in handles], out=out)
        for handle in handles:
            handle.row.segments[-1].length += 1
            handle.length += 1
        return out

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
                size = BLOCK * self.bytes_per_token
                self._cache.put(key, block, size, is_exact=self._reader.is_canonical)

    def forget(self, prefill: _Prefill) -> None:
        """See `Runner.forget`: memory goes with the last reference."""

    def cached_bytes(self) -> int:
        """See `Runner.cached_bytes`."""
        return self._cache.bytes

    def shrink(self, wanted: int) -> None:
        """See `Runner.shrink`."""
        self._cache.shrink(wanted)
