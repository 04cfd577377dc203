"""Llama-shaped decoders whose layers keep a window, a sum, or numbers of few bits, in PyTorch.

Each sequence has a slot in the cache of every layer. Samples of one prompt read it once and then have copies
of their own: what a window or a sum keeps is small, and it changes with every token.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from workbench.errors import ModelError
from workbench.inference.engine.kv_codecs import KvDtype, codec_of
from workbench.inference.engine.layer_caches import Angles, LayerCache, LinearCache, Rows, SoftmaxCache
from workbench.inference.engine.placed_prefix import PlacedPrefix
from workbench.inference.engine.snapshots import Snapshots
from workbench.inference.loading.soft_prompt import SoftPrompt
from workbench.ops.decode import DecoderWeights
from workbench.ops.decode_reference import finish, logits_of, project
from workbench.ops.sparse_attention.pattern import Pattern

CHUNKS = {"cpu": 128}
"""Tokens of a prompt read at a time; where nothing is said, `CHUNK`."""
CHUNK = 512
FIRST_TOKENS = 256
"""Tokens that a sequence has room for at first."""


@dataclass(eq=False)
class _Prefill:
    ids: list[int]
    slot: int
    remaining: int
    samples: int
    all_logits: bool
    exact: bool
    cached: int = 0
    shared: bool = False
    opened: int = 0
    is_read: bool = field(default=False)


@dataclass(eq=False)
class _Handle:
    slot: int
    length: int


class StateRunner:
    """See `Runner` for what its methods mean. `patterns` are those of the layers, None for linear attention;
    keys and values are kept as `kv_dtype` says, which changes nothing of a sum."""

    batch_invariant = False
    prefix: PlacedPrefix[Any] | None = None

    def __init__(
        self, weights: DecoderWeights, patterns: Many[Pattern | None], kv_dtype: KvDtype = "auto"
    ) -> None:
        self.weights, self.kv_dtype = weights, kv_dtype
        self.vocabulary, self.max_length = weights.head.shape[0], weights.cos.shape[0]
        self.device = weights.embedding.device
        heads, size = weights.kv_heads, weights.head_dim
        codec = codec_of(kv_dtype, weights.dtype)
        self.caches: list[LayerCache] = [
            LinearCache(heads, size, self.device)
            if pattern is None
            else SoftmaxCache(pattern, codec, heads, size, self.max_length, self.device)
            for pattern in patterns
        ]
        # A stride's keys lie so that only a whole prompt is read in less than the square of its length.
        whole = any(pattern is not None and pattern.stride for pattern in patterns)
        self.piece = CHUNKS.get(self.device.type, CHUNK)
        self.chunk = self.max_length if whole else self.piece
        self.is_full = all(pattern is not None and pattern.is_full for pattern in patterns)
        """Whether each layer keeps and sees all tokens."""
        self.bytes_per_token = max(1, sum(cache.growing for cache in self.caches))
        self.name = f"PyTorch ({_words(patterns, kv_dtype, weights.dtype)})"
        self._slots, self._tokens = 0, 0
        self._free: list[int] = []
        self._snapshots = Snapshots()

    @property
    def embeddings(self) -> Tensor:
        """See `Runner.embeddings`."""
        return self.weights.embedding

    def place(self, soft_prompt: SoftPrompt) -> PlacedPrefix[Any]:
        """Raises `ModelError`: there is no place for one."""
        raise ModelError(
            "a soft prompt cannot stand before what this engine keeps of a prompt: " + self.name,
            where=soft_prompt.where,
            hint="serve a model with full attention, and without --kv-dtype",
        )

    def room(self, prompt: int, prefix: PlacedPrefix[Any] | None = None) -> int:
        """See `Runner.room`."""
        return self.max_length - prompt

    def bytes_of(self, tokens: int) -> int:
        """What a sequence of so many tokens takes."""
        return sum(cache.bytes_of(tokens) for cache in self.caches)

    def begin(
        self,
        prompt: Many[int],
        *,
        exact: bool = False,
        all_logits: bool = False,
        prefix: PlacedPrefix[Any] | None = None,
        samples: int = 1,
    ) -> _Prefill:
        """See `Runner.begin`. What is kept of an earlier sequence is used where the prompt continues it; it
        was not read in the same pieces, so not where the same bits are wanted."""
        ids = list(prompt)
        if not ids:
            raise ModelError("the prompt is empty", hint="send at least one token")
        if len(ids) > self.max_length:
            raise ModelError(
                f"the prompt has {len(ids):,} tokens", hint=f"at most {self.max_length:,} are possible"
            )
        found = None if exact or all_logits else self._snapshots.take(ids[:-1])
        slot, cached = found if found is not None else (self._take(len(ids)), 0)
        self._reserve(self._slots, len(ids))
        return _Prefill(ids, slot, len(ids) - cached, samples, all_logits, exact, cached)

    def advance(self, prefill: _Prefill) -> Tensor | None:
        """See `Runner.advance`."""
        start = len(prefill.ids) - prefill.remaining
        # Behind what was read before there is a mask of pairs, whatever the pattern.
        count = min(self.chunk if not start else min(self.chunk, self.piece), prefill.remaining)
        x = self.weights.embedding[torch.tensor(prefill.ids[start : start + count], device=self.device)]
        at = self._angles(torch.arange(start, start + count, device=self.device))
        for layer, cache in zip(self.weights.layers, self.caches, strict=True):
            heads = project(self.weights, layer, x)
            x = finish(self.weights, layer, x, cache.read(prefill.slot, start, *heads, at))
        prefill.remaining -= count
        if prefill.all_logits:
            return logits_of(self.weights, x)
        return None if prefill.remaining else logits_of(self.weights, x[-1:])[0]

    def _angles(self, positions: Tensor) -> Angles:
        cos, sin = (table[positions][:, None] for table in (self.weights.cos, self.weights.sin))
        return cos.to(self.weights.dtype), sin.to(self.weights.dtype)

    def open(self, prefill: _Prefill, capacity: int, *, alone: bool = False) -> _Handle:
        """See `Runner.open`. The last sample goes on in the prompt's own slot."""
        prefill.opened += 1
        if prefill.opened == prefill.samples:
            slot, prefill.slot = prefill.slot, -1
        else:
            slot = self._take(len(prefill.ids))
            for cache in self.caches:
                cache.copy(prefill.slot, slot)
        return _Handle(slot, len(prefill.ids))

    def decode(self, handles: Many[_Handle], tokens: Many[int]) -> Tensor:
        """See `Runner.decode`."""
        order = sorted(range(len(handles)), key=lambda number: handles[number].slot)
        rows = self._rows([handles[number] for number in order])
        x = self.weights.embedding[torch.tensor([tokens[number] for number in order], device=self.device)]
        at = self._angles(rows.positions)
        for layer, cache in zip(self.weights.layers, self.caches, strict=True):
            heads = project(self.weights, layer, x)
            x = finish(self.weights, layer, x, cache.step(rows, *heads, at))
        for handle in handles:
            handle.length += 1
        logits = logits_of(self.weights, x)
        if order == list(range(len(handles))):
            return logits
        back = torch.empty(len(order), dtype=torch.int64, device=self.device)
        back[torch.tensor(order, device=self.device)] = torch.arange(len(order), device=self.device)
        return logits[back]

    def _rows(self, handles: list[_Handle]) -> Rows:
        slots = [handle.slot for handle in handles]
        longest = max(handle.length for handle in handles)
        self._reserve(self._slots, longest + 1)
        numbers = torch.tensor(slots, device=self.device)
        is_range = slots[-1] - slots[0] + 1 == len(slots)
        seen = slice(slots[0], slots[-1] + 1) if is_range else numbers
        positions = torch.tensor([handle.length for handle in handles], device=self.device)
        return Rows(numbers, seen, positions, longest)

    def close(self, handle: _Handle, ids: Many[int] | None = None) -> None:
        """See `Runner.close`."""
        if ids is None:
            self._give(handle.slot)
        else:
            self._keep(handle.slot, list(ids[: handle.length]))

    def _keep(self, slot: int, ids: list[int]) -> None:
        for old in self._snapshots.put(ids, slot, self.bytes_of(len(ids))):
            self._give(old)

    def forget(self, prefill: _Prefill) -> None:
        """See `Runner.forget`."""
        if prefill.slot >= 0:
            self._give(prefill.slot)
            prefill.slot = -1

    def cached_bytes(self) -> int:
        """See `Runner.cached_bytes`."""
        return self._snapshots.bytes

    def shrink(self, wanted: int) -> None:
        """See `Runner.shrink`."""
        for slot in self._snapshots.shrink(wanted):
            self._give(slot)

    def held_bytes(self) -> int:
        """What all caches take now, used or not."""
        return sum(cache.bytes for cache in self.caches)

    def _take(self, tokens: int) -> int:
        """A free slot, with room for so many tokens."""
        if not self._free:
            more = max(1, self._slots)
            self._reserve(self._slots + more, max(tokens, 1))
        self._free.sort(reverse=True)
        return self._free.pop()

    def _reserve(self, slots: int, tokens: int) -> None:
        """Room for so many slots and tokens: of both twice what there was where it does not do."""
        if slots <= self._slots and tokens <= self._tokens:
            return
        room = self._tokens
        if tokens > room:
            room = min(self.max_length, max(tokens, 2 * room, FIRST_TOKENS))
        for cache in self.caches:
            cache.resize(slots, room)
        # Not before all have it: where memory runs out in between, the next one tries again.
        self._free += range(self._slots, slots)
        self._slots, self._tokens = slots, room

    def _give(self, slot: int) -> None:
        self._free.append(slot)
        if len(self._free) == self._slots:
            for cache in self.caches:
                cache.resize(0, 0)
            self._slots, self._tokens, self._free = 0, 0, []


def _words(patterns: Many[Pattern | None], kv_dtype: KvDtype, dtype: torch.dtype) -> str:
    """What is kept, for people."""
    kinds: dict[str, int] = {}
    for pattern in patterns:
        if pattern is None:
            word = "a sum"
        elif pattern.is_full:
            word = "all tokens"
        elif pattern.stride is not None:
            word = f"every {pattern.stride}th token and a window of {pattern.window:,}"
        else:
            more = f" and {pattern.global_tokens} first tokens" if pattern.global_tokens else ""
            word = f"a window of {pattern.window:,}{more}"
        kinds[word] = kinds.get(word, 0) + 1
    layers = "; ".join(f"{count} layer{'s' * (count > 1)} with {word}" for word, count in kinds.items())
    kept = str(dtype).removeprefix("torch.") if kv_dtype == "auto" else kv_dtype
    return f"{layers}; keys and values in {kept}" if any(patterns) else layers
