"""Llama-shaped decoders on fused weights, with keys and values in blocks that sequences share.

A sequence is a chain of blocks: whole ones of its prompt, which all prompts that begin alike share; the
rest of its prompt, which all samples of it share; and blocks of its own. Nothing is copied when a sample
begins, and nothing is concatenated when it goes on.

Prompts are read in chunks that are cut at the same places whatever is in the cache, and blocks know whether
reading would give their very bits: so an answer to a seeded request does not depend on what else the engine
does or has done.

A soft prompt is a block too, the first of every chain that chose it. The block behind it is shorter, so that
all others begin where they would: the decode step reads whole chunks of positions once for all rows.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass, field

import torch

from workbench.inference.engine.placed_prefix import PlacedPrefix, too_long
from workbench.inference.engine.prompt_cache import ROOT, PromptCache, block_keys
from workbench.inference.engine.prompt_readers import TorchReader, Wanted, prompt_reader
from workbench.inference.loading.soft_prompt import CacheShape, SoftPrompt
from workbench.ops.decode import DecoderWeights, Row, Segment, choose, decode_step

BLOCK = 128
"""Tokens of a block. A product of 128 rows is within 10 % of the speed of one of 512 on two cores."""
Prefix = PlacedPrefix[Segment]


@dataclass(eq=False)
class _Prefill:
    prompt: tuple[int, ...]
    keys: list[bytes]
    exact_so_far: bool
    all_logits: bool
    cached: int
    blocks: list[Segment]
    """With that of the soft prompt."""
    remaining: int
    prefix: Prefix | None
    ends: list[int]
    """Where the whole blocks of the prompt end."""
    shared: bool = True


@dataclass(eq=False)
class _Handle:
    row: Row
    capacity: int
    prompt: _Prefill
    length: int = field(default=0)


class PagedRunner:
    """Runs one model from its fused weights; `max_length` is bounded by the rotary angles there are.

    `soft_prompt` stands before every prompt. Raises `ModelError` where it does not fit the model.
    """

    def __init__(self, weights: DecoderWeights, soft_prompt: SoftPrompt | None = None) -> None:
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
        self.shape = CacheShape(
            len(weights.layers), weights.kv_heads, weights.head_dim, weights.embedding.shape[1]
        )
        self.prefix = None if soft_prompt is None else self.place(soft_prompt)

    @property
    def embeddings(self) -> torch.Tensor:
        """See `Runner.embeddings`."""
        return self.weights.embedding

    def place(self, soft_prompt: SoftPrompt) -> Prefix:
        """See `Runner.place`."""
        count = soft_prompt.length
        if count >= self.max_length:
            raise too_long(soft_prompt, self.max_length)
        if soft_prompt.is_prefix:
            keys, values = soft_prompt.keys_values(self.shape, self.embeddings)
            block = Segment(keys, values, count)
        else:
            block = self._segment(count)
            with torch.inference_mode():
                vectors = soft_prompt.embeddings(self.shape, self.embeddings)
                TorchReader(self.weights).read_vectors(vectors, block)
        return PlacedPrefix(count, soft_prompt.key, count * self.bytes_per_token, 0, block)

    def _segment(self, tokens: int) -> Segment:
        w = self.weights
        shape = (2, len(w.layers), w.kv_heads, tokens, w.head_dim)
        keys, values = torch.empty(shape, dtype=w.dtype, device=w.embedding.device)
        return Segment(keys, values, 0)

    def room(self, prompt: int, prefix: Prefix | None = None) -> int:
        """See `Runner.room`."""
        prefix = prefix or self.prefix
        return self.max_length - prompt - (prefix.length if prefix else 0)

    def begin(
        self,
        prompt: Many[int],
        *,
        exact: bool = False,
        all_logits: bool = False,
        prefix: Prefix | None = None,
        samples: int = 1,
    ) -> _Prefill:
        """See `Runner.begin`. The last token is always read, for its logits are what is wanted."""
        prefix = prefix or self.prefix
        before = [prefix.content] if prefix else []
        keys = self._keys(prompt[:-1], prefix)
        ends = _ends(len(keys), prefix)
        found = [] if all_logits else self._cache.find(keys, exact=exact)
        cached = ends[len(found) - 1] if found else 0
        self._reader.start(len(prompt) + (prefix.length if prefix else 0), [*before, *found])
        exact_so_far = len(self._cache.find(keys[: len(found)], exact=True)) == len(found)
        return _Prefill(
            tuple(prompt),
            keys,
            exact_so_far,
            all_logits,
            cached,
            [*before, *found],
            len(prompt) - cached,
            prefix,
            ends,
        )

    def _keys(self, ids: Many[int], prefix: Prefix | None) -> list[bytes]:
        return block_keys(ids, BLOCK, root=prefix.key if prefix else ROOT, first=_first_block(prefix))

    def advance(self, prefill: _Prefill) -> torch.Tensor | None:
        """See `Runner.advance`."""
        total = len(prefill.prompt)
        start = total - prefill.remaining
        place = sum(end <= start for end in prefill.ends)
        end = prefill.ends[place] if place < len(prefill.ends) else total
        ids = prefill.prompt[start:end]
        is_last = end == total
        block = self._segment(len(ids))
        wanted: Wanted = "all" if prefill.all_logits else "last" if is_last else "none"
        logits = self._reader.read(torch.tensor(ids), prefill.blocks, block, wanted)
        prefill.remaining -= len(ids)
        prefill.blocks.append(block)
        if not is_last:
            self._put(prefill.keys[place], block, is_exact=prefill.exact_so_far)
        if wanted == "none":
            return None
        return logits if wanted == "all" else logits[0]

    def _put(self, key: bytes, block: Segment, *, is_exact: bool) -> None:
        self._cache.put(key, block, block.room * self.bytes_per_token, is_exact=is_exact)

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
        prompt = handle.prompt
        keys = self._keys(ids, prompt.prefix)
        whole = len(prompt.ends)
        if len(keys) == whole:
            return
        start = prompt.ends[-1] if whole else 0
        rest = handle.row.segments[whole + (prompt.prefix is not None) :]
        parts = [
            torch.cat([getattr(part, name)[:, :, : part.length] for part in rest], 2)
            for name in ("keys", "values")
        ]
        ends, at = _ends(len(keys), prompt.prefix), 0
        for key, end in list(zip(keys, ends, strict=True))[whole:]:
            cut, at = slice(at, end - start), end - start
            if key not in self._cache:
                both = [part[:, :, cut].contiguous() for part in parts]
                block = Segment(both[0], both[1], cut.stop - cut.start)
                self._put(key, block, is_exact=self._reader.is_canonical)

    def forget(self, prefill: _Prefill) -> None:
        """See `Runner.forget`: memory goes with the last reference."""

    def cached_bytes(self) -> int:
        """See `Runner.cached_bytes`."""
        return self._cache.bytes

    def shrink(self, wanted: int) -> None:
        """See `Runner.shrink`."""
        self._cache.shrink(wanted)


def _first_block(prefix: Prefix | None) -> int:
    """Tokens of the first block, so that blocks end at multiples of `BLOCK` whatever is before the prompt."""
    return BLOCK - prefix.length % BLOCK if prefix else BLOCK


def _ends(blocks: int, prefix: Prefix | None) -> list[int]:
    """Where so many whole blocks of a sequence end, in its tokens."""
    return [_first_block(prefix) + place * BLOCK for place in range(blocks)]
