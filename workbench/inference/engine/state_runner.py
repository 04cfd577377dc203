"""Llama-shaped decoders whose layers keep a window, a sum, or numbers of few bits, in PyTorch.

Each sequence has a slot in the cache of every layer, which grows with it and holds no more than the scheduler
was told. Samples of one prompt read it once and then have copies of their own: what a window or a sum keeps
is small, and it changes with every token.
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
from workbench.inference.engine.slots import Slot, Slots
from workbench.inference.engine.snapshots import Snapshots
from workbench.inference.loading.soft_prompt import SoftPrompt
from workbench.ops.decode import DecoderWeights
from workbench.ops.decode_reference import finish, logits_of, project
from workbench.ops.sparse_attention.pattern import Pattern

CHUNKS = {"cpu": 128}
"""Tokens of a prompt read at a time; where nothing is said, `CHUNK`."""
CHUNK = 512


@dataclass(eq=False)
class _Prefill:
    ids: list[int]
    slot: Slot | None
    """None when the last sample has taken it, or none is wanted any more."""
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
    slot: Slot
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
        self.bytes_per_token = sum(cache.growing for cache in self.caches)
        self.name = f"PyTorch ({_words(patterns, kv_dtype, weights.dtype)})"
        self._slots = Slots(self.caches)
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
        slot, cached = found if found is not None else (self._slots.take(len(ids)), 0)
        slot.limit = len(ids)
        self._reserve(slot, len(ids))
        return _Prefill(ids, slot, len(ids) - cached, samples, all_logits, exact, cached)

    def advance(self, prefill: _Prefill) -> Tensor | None:
        """See `Runner.advance`."""
        start = len(prefill.ids) - prefill.remaining
        # Behind what was read before there is a mask of pairs, whatever the pattern.
        count = min(self.chunk if not start else min(self.chunk, self.piece), prefill.remaining)
        x = self.weights.embedding[torch.tensor(prefill.ids[start : start + count], device=self.device)]
        at = self._angles(torch.arange(start, start + count, device=self.device))
        assert prefill.slot is not None
        for layer, cache in zip(self.weights.layers, self.caches, strict=True):
            heads = project(self.weights, layer, x)
            x = finish(self.weights, layer, x, cache.read(prefill.slot.number, start, *heads, at))
        prefill.remaining -= count
        if prefill.all_logits:
            return logits_of(self.weights, x)
        return None if prefill.remaining else logits_of(self.weights, x[-1:])[0]

    def _angles(self, positions: Tensor) -> Angles:
        cos, sin = (table[positions][:, None] for table in (self.weights.cos, self.weights.sin))
        return cos.to(self.weights.dtype), sin.to(self.weights.dtype)

    def open(self, prefill: _Prefill, capacity: int, *, alone: bool = False) -> _Handle:
        """See `Runner.open`. The last sample goes on in the prompt's own slot."""
        assert prefill.slot is not None
        length = len(prefill.ids)
        if prefill.opened + 1 == prefill.samples:
            slot, prefill.slot = prefill.slot, None
        else:
            slot = self._slots.take(length)
            try:
                self._slots.copy(prefill.slot, slot, length)
            except BaseException:
                self._slots.give(slot)
                raise
        prefill.opened += 1
        slot.limit = min(self.max_length, length + capacity)
        return _Handle(slot, length)

    def decode(self, handles: Many[_Handle], tokens: Many[int]) -> Tensor:
        """See `Runner.decode`."""
        order = sorted(range(len(handles)), key=lambda number: handles[number].slot.number)
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
        for handle in handles:
            self._slots.reserve(handle.slot, handle.length + 1)
        slots, lengths = [handle.slot.number for handle in handles], [handle.length for handle in handles]
        is_range = slots[-1] - slots[0] + 1 == len(slots)
        seen = slice(slots[0], slots[-1] + 1) if is_range else torch.tensor(slots, device=self.device)
        return Rows(slots, seen, lengths, torch.tensor(lengths, device=self.device))

    def close(self, handle: _Handle, ids: Many[int] | None = None) -> None:
        """See `Runner.close`."""
        if ids is None:
            self._slots.give(handle.slot)
        else:
            self._keep(handle.slot, list(ids[: handle.length]))

    def _keep(self, slot: Slot, ids: list[int]) -> None:
        try:
            self._slots.fit(slot, len(ids))
        except BaseException:
            self._slots.give(slot)
            raise
        for old in self._snapshots.put(ids, slot, self.bytes_of(len(ids))):
            self._slots.give(old)

    def forget(self, prefill: _Prefill) -> None:
        """See `Runner.forget`."""
        if prefill.slot is not None:
            self._slots.give(prefill.slot)
            prefill.slot = None

    def cached_bytes(self) -> int:
        """See `Runner.cached_bytes`."""
        return self._snapshots.bytes

    def shrink(self, wanted: int) -> None:
        """See `Runner.shrink`."""
        for slot in self._snapshots.shrink(wanted):
            self._slots.give(slot)

    def held_bytes(self) -> int:
        """What all caches take now, used or not."""
        return sum(cache.bytes for cache in self.caches)

    def _reserve(self, slot: Slot, tokens: int) -> None:
        try:
            self._slots.reserve(slot, tokens)
        except BaseException:
            self._slots.give(slot)
            raise


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
