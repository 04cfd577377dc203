"""Any model of transformers with a cache of keys and values, through its own `forward`, in dense batches."""

from __future__ import annotations

import inspect
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import Cache

from workbench.errors import ModelError
from workbench.inference.engine.dense_attention import use_engine_attention
from workbench.inference.engine.dense_cache import Block, DenseCache, cache_name, joined, rounded
from workbench.inference.engine.dense_checks import check_model
from workbench.inference.engine.dense_prefixes import Prefixes, chain
from workbench.inference.engine.dense_rows import DenseBatch, Row
from workbench.inference.engine.dense_soft_prompts import Prefix, place
from workbench.inference.loading.context import context_of
from workbench.inference.loading.soft_prompt import CacheShape, SoftPrompt

CHUNKS = {"cpu": 128}
"""Tokens read at a time; where nothing is said, `CHUNK`."""
CHUNK = 512
KEPT_BYTES = 256 << 20
LEAST_SHARED = 1024
"""Copies of tokens that must be spared for rows to hold once what they begin with: a call of attention more a
layer costs what fewer do. Measured with SmolLM2-135M on a CPU: 2 rows with 512 in common take 2 to 6 % longer
to decode then, and 8 rows 10 % less long."""
USERS = 4
"""So many requests are taken to use a soft prompt at a time."""


@dataclass(eq=False)
class Prompt:
    """A prompt being read; afterwards its keys and values in blocks, which its sequences copy, or in a trunk,
    to which they refer."""

    ids: list[int]
    remaining: int
    exact: bool
    all_logits: bool
    batch: DenseBatch
    prefix: Prefix | None = None
    cached: int = 0
    shared: bool = False
    keys: list[bytes] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    trunk: Block | None = None
    cache: DenseCache | None = None

    @property
    def before(self) -> list[Block]:
        """The soft prompt's keys and values, if there are any."""
        return [self.prefix.content.block] if self.prefix and self.prefix.content.block else []

    @property
    def columns_before(self) -> int:
        """Tokens in them."""
        return sum(block.length for block in self.before)

    def hold(self, block: Block) -> None:
        """Take a block as the next part."""
        block.users += 1
        self.blocks.append(block)


class TransformersRunner:
    """A decoder of transformers. See `Runner` for what its methods mean.

    Rows of a batch are padded on the left. Where the model cannot be padded (which is tried out when it is
    loaded), only sequences of one prompt and of one length are decoded together.
    """

    batch_invariant = False

    def __init__(
        self,
        model: Any,
        *,
        chunk: int | None = None,
        kept_bytes: int = KEPT_BYTES,
        max_length: int | None = None,
        soft_prompt: SoftPrompt | None = None,
    ) -> None:
        """`chunk` tokens are read at a time, at most `kept_bytes` are kept for prompts to come, a sequence
        holds at most `max_length` tokens, and `soft_prompt` stands before every prompt that names none.

        Raises `ModelError` when the model's state is no cache of keys and values, or does not give what the
        model gives without, or when the soft prompt does not fit it.
        """
        self.model = model
        self.device = model.device
        self.chunk = chunk or CHUNKS.get(self.device.type, CHUNK)
        self.prefix: Prefix | None = None
        self.name = f"transformers {str(model.dtype).removeprefix('torch.')}, {self.device}"
        self._accepts = frozenset(inspect.signature(model.forward).parameters)
        self._cache_name = cache_name(model)
        self._prefixes: Prefixes[Block] = Prefixes(kept_bytes)
        self._shared = DenseBatch()
        self.shares = use_engine_attention(model)
        """Whether rows may hold what they have in common once."""
        self.least_shared = LEAST_SHARED
        self.aligned = True
        """Whether rows of different lengths may lie in one batch."""
        context = context_of(model.config)
        self.max_length = min(context, max_length or context)
        checked = check_model(self)
        self.aligned, self.shares = checked.aligned, checked.shares
        if not self.aligned:
            self.name += ", rows of one length at a time"
        self.vocabulary = checked.vocabulary
        self.bytes_per_token = checked.bytes_per_token
        self.shape: CacheShape = checked.shape
        if soft_prompt is not None:
            self.prefix = self.place(soft_prompt)

    @property
    def embeddings(self) -> torch.Tensor:
        weights: torch.Tensor = self.model.get_input_embeddings().weight
        return weights

    def place(self, soft_prompt: SoftPrompt) -> Prefix:
        is_shared = self._spares(USERS, soft_prompt.length)
        return place(soft_prompt, self.model, self.shape, self.most_before(soft_prompt), is_shared=is_shared)

    def _spares(self, rows: int, common: int) -> bool:
        """Whether it is worth while that so many rows hold once what they have in common."""
        return self.shares and (rows - 1) * common >= self.least_shared

    def most_before(self, soft_prompt: SoftPrompt) -> int:
        """What virtual tokens, a prompt and an answer have to fit in together."""
        return self.max_length

    def room(self, prompt: int, prefix: Prefix | None = None) -> int:
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
    ) -> Prompt:
        """Raises `ModelError` for an empty prompt, and one that is longer than the model's context."""
        prefix = prefix or self.prefix
        self._check_length(prompt, prefix)
        ids = list(prompt)
        batch = self._shared if self.aligned else DenseBatch()
        keys = chain(ids, self.chunk, prefix.key if prefix else b"")
        reading = Prompt(ids, len(ids), True, all_logits, batch, prefix, keys=keys)
        reading.shared = self._spares(samples, reading.columns_before + len(ids))
        if not all_logits:
            # The last chunk is always read, for the logits that follow it.
            for key in reading.keys[: (len(ids) - 1) // self.chunk]:
                found = self._prefixes.find(key, exact=exact)
                if found is None:
                    break
                reading.hold(found[0])
                reading.exact &= found[1]
                reading.cached += self.chunk
        reading.remaining -= reading.cached
        return reading

    def _check_length(self, prompt: Many[int], prefix: Prefix | None) -> None:
        if not prompt:
            raise ModelError("the prompt is empty", hint="send at least one token")
        room = self.room(len(prompt), prefix)
        if room < 0:
            raise ModelError(
                f"the prompt has {len(prompt):,} tokens",
                hint=f"shorten it by at least {-room:,} tokens",
            )

    def advance(self, prefill: Prompt) -> torch.Tensor | None:
        if prefill.cache is None:
            prefill.cache = self._reading_cache(prefill)
        window = prefill.cache.window
        done = len(prefill.ids) - prefill.remaining
        count = min(self.chunk, prefill.remaining)
        window.rows, window.end = 1, prefill.columns_before + done
        logits = self._read(prefill.ids[done : done + count], prefill.cache, prefill.all_logits)
        block = prefill.cache.cut(0, window.end, window.end + count)
        prefill.hold(block)
        prefill.remaining -= count
        if count == self.chunk:
            self._prefixes.put(prefill.keys[done // self.chunk], block, exact=prefill.exact)
        if not prefill.remaining:
            prefill.cache = None
        if prefill.all_logits:
            return logits
        return None if prefill.remaining else logits[-1]

    def _reading_cache(self, prefill: Prompt) -> DenseCache:
        cache = DenseCache(1, rounded(prefill.columns_before + len(prefill.ids)))
        at = 0
        for block in [*prefill.before, *prefill.blocks]:
            cache.write(block, 0, at)
            at += block.length
        return cache

    def _read(self, ids: list[int], cache: DenseCache, all_logits: bool) -> torch.Tensor:
        """Logits [n, V] after all of these tokens, or [1, V] after the last."""
        start = cache.window.end
        extra: dict[str, Any] = {}
        if "position_ids" in self._accepts:
            extra["position_ids"] = torch.arange(start, start + len(ids), device=self.device)[None]
        if "logits_to_keep" in self._accepts and not all_logits:
            extra["logits_to_keep"] = 1
        logits = self._logits(cache, input_ids=self._tensor([ids]), **extra)
        return (logits[0] if all_logits else logits[0, -1:]).float()

    def _tensor(self, numbers: list[list[int]]) -> torch.Tensor:
        return torch.tensor(numbers, device=self.device)

    def _logits(self, cache: Cache, **inputs: Any) -> torch.Tensor:
        inputs[self._cache_name] = cache
        logits: torch.Tensor = self.model(use_cache=True, return_dict=True, **inputs).logits
        return logits

    def open(self, prefill: Prompt, capacity: int, *, alone: bool = False) -> Row:
        batch = DenseBatch() if alone else prefill.batch
        length, prefix = len(prefill.ids), prefill.prefix
        if prefill.shared:
            if prefill.trunk is None:
                prefill.trunk = joined([*prefill.before, *prefill.blocks])
            return batch.add([], length, capacity, prefix=prefix, trunk=prefill.trunk)
        if prefix is not None and prefix.content.block is not None and not prefix.columns:
            return batch.add(prefill.blocks, length, capacity, prefix=prefix, trunk=prefix.content.block)
        return batch.add([*prefill.before, *prefill.blocks], length, capacity, prefix=prefix)

    def decode(self, handles: Many[Row], tokens: Many[int]) -> torch.Tensor:
        groups: dict[tuple[int, int], list[int]] = {}
        for number, row in enumerate(handles):
            groups.setdefault((id(row.batch), 0 if self.aligned else row.width), []).append(number)
        found: list[torch.Tensor | None] = [None] * len(handles)
        for numbers in groups.values():
            logits = self._decode_batch([handles[n] for n in numbers], [tokens[n] for n in numbers])
            if len(groups) == 1:
                return logits
            for number, row_logits in zip(numbers, logits, strict=True):
                found[number] = row_logits
        return torch.stack([row for row in found if row is not None])

    def _decode_batch(self, rows: list[Row], tokens: list[int]) -> torch.Tensor:
        """One step for rows of one batch: logits [B, V] in their order."""
        batch = rows[0].batch
        cache = batch.prepare(rows)
        placed = batch.rows[: len(rows)]
        by_slot = dict(zip((row.slot for row in rows), tokens, strict=True))
        ids = self._tensor([[by_slot[slot]] for slot in range(len(rows))])
        cache.window.share = share = batch.share(len(rows), self.device)
        try:
            logits = self._step(ids, placed, cache)[:, -1].float()
        finally:
            cache.window.share = None
        if share is not None:
            share.check(self.model)
        batch.appended(rows)
        order = [row.slot for row in rows]
        return logits if order == list(range(len(rows))) else logits[order]

    def _step(self, ids: torch.Tensor, rows: Many[Row], cache: DenseCache) -> torch.Tensor:
        extra: dict[str, Any] = {"attention_mask": left_padded([row.width for row in rows], 1, self.device)}
        if "position_ids" in self._accepts:
            extra["position_ids"] = self._tensor([[row.position] for row in rows])
        return self._logits(cache, input_ids=ids, **extra)

    def close(self, handle: Row, ids: Many[int] | None = None) -> None:
        if ids is not None:
            self._keep(handle, list(ids[: handle.length]))
        handle.batch.remove(handle)

    def _keep(self, row: Row, ids: list[int]) -> None:
        """Keep whole chunks of what was written, for a prompt that continues it. Decoding one by one rounds
        differently from reading, so they are not exact."""
        for number, key in enumerate(chain(ids, self.chunk, row.prefix.key if row.prefix else b"")):
            if self._prefixes.find(key, exact=False) is None:
                start = number * self.chunk
                self._prefixes.put(key, row.tokens(start, start + self.chunk), exact=False)

    def forget(self, prefill: Prompt) -> None:
        for block in prefill.blocks:
            block.users -= 1
        prefill.blocks, prefill.cache, prefill.trunk = [], None, None
        self._prefixes.shrink(self._prefixes.limit)

    def cached_bytes(self) -> int:
        return self._prefixes.idle_bytes()

    def shrink(self, wanted: int) -> None:
        self._prefixes.shrink(wanted)

    def reference(self, prompt: list[int], answer: list[int]) -> torch.Tensor:
        """The logits [n + 1, V] after the prompt and after each token of the answer, with no cache."""
        ids = self._tensor([[*prompt, *answer]])
        logits: torch.Tensor = self.model(input_ids=ids, use_cache=False, return_dict=True).logits
        return logits[0, len(prompt) - 1 :].float()


def left_padded(widths: Many[int], new: int, device: torch.device) -> torch.Tensor | None:
    """The mask [B, T] of rows that end together and grow by `new` tokens; None where nothing is padding."""
    longest = max(widths)
    if min(widths) == longest:
        return None
    columns = torch.arange(longest + new, device=device)
    padding = torch.tensor([longest - width for width in widths], device=device)
    return (columns >= padding[:, None]).long()
