"""Encoder–decoders (T5, BART …): the encoder reads the prompt once, the decoder writes the answer."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from workbench.errors import ModelError
from workbench.inference.engine.dense_cache import ROUND, Block, DenseCache
from workbench.inference.engine.dense_positions import RowPositions
from workbench.inference.engine.dense_prefixes import Prefixes, chain
from workbench.inference.engine.dense_rows import DenseBatch, Row
from workbench.inference.engine.dense_soft_prompts import Prefix
from workbench.inference.engine.transformers_runner import (
    KEPT_BYTES,
    Prompt,
    TransformersRunner,
    left_padded,
)
from workbench.inference.loading.context import context_of
from workbench.inference.loading.soft_prompt import SoftPrompt


@dataclass(eq=False)
class Source:
    """A prompt as the decoder sees it: keys and values of the encoder's answer, those of the tokens that
    every answer begins with, and the logits [V] after them."""

    encoded: Block
    started: Block
    logits: torch.Tensor
    users: int = 0

    @property
    def bytes(self) -> int:
        """The memory it takes."""
        return self.encoded.bytes + self.started.bytes + self.logits.nbytes


@dataclass(eq=False)
class SourcePrompt(Prompt):
    """A prompt that is read in one go."""

    source: Source | None = None


class EncoderDecoderRunner(TransformersRunner):
    """An encoder–decoder of transformers. See `Runner` for what its methods mean.

    A prompt is the encoder's input; a sequence holds it and what its decoder has written.
    """

    def __init__(
        self,
        model: Any,
        *,
        kept_bytes: int = KEPT_BYTES,
        max_length: int | None = None,
        soft_prompt: SoftPrompt | None = None,
    ) -> None:
        """Keys and values of a soft prompt stand before what the decoder writes, its vectors before the
        encoder's input. Raises `ModelError` as `TransformersRunner` does."""
        self._start = first_tokens(model)
        self._sources: Prefixes[Source] = Prefixes(kept_bytes)
        self._positions = RowPositions(model.get_decoder())
        self._outputs_kind: Any = BaseModelOutput
        self.max_prompt = context_of(model.config, encoder=True)
        self.max_prompt = min(self.max_prompt, max_length or self.max_prompt)
        super().__init__(model, kept_bytes=kept_bytes, max_length=max_length, soft_prompt=soft_prompt)

    def most_before(self, soft_prompt: SoftPrompt) -> int:
        return self.max_length if soft_prompt.is_prefix else self.max_prompt

    def room(self, prompt: int, prefix: Prefix | None = None) -> int:
        """Prompt and answer do not share a context here, so a prompt that fits takes nothing away; of a soft
        prompt, vectors take of the encoder's, keys and values of the decoder's."""
        prefix = prefix or self.prefix
        before = prefix.length if prefix else 0
        own = before if prefix and prefix.content.block else 0
        return min(self.max_prompt - (before - own) - prompt, 0) or self.max_length - own - len(self._start)

    def begin(
        self,
        prompt: Many[int],
        *,
        exact: bool = False,
        all_logits: bool = False,
        prefix: Prefix | None = None,
        samples: int = 1,
    ) -> SourcePrompt:
        """Raises `ModelError` for an empty prompt, one that is longer than the encoder's context, and where
        the logits of a prompt's tokens are asked for: they have none."""
        prefix = prefix or self.prefix
        self._check_length(prompt, prefix)
        if all_logits:
            raise ModelError(
                "an encoder–decoder reads its prompt all at once, and tells no probabilities for it",
                hint="ask without echo; those of the answer it tells",
            )
        ids = list(prompt)
        batch = self._shared if self.aligned else DenseBatch()
        keys = chain(ids, len(ids), prefix.key if prefix else b"")
        reading = SourcePrompt(ids, len(ids), True, False, batch, prefix, keys=keys)
        found = self._sources.find(reading.keys[0], exact=exact)
        if found is not None:
            reading.source = found[0]
            reading.source.users += 1
            reading.cached, reading.remaining = len(ids) - 1, 1
        return reading

    def advance(self, prefill: Prompt) -> torch.Tensor:
        assert isinstance(prefill, SourcePrompt)
        if prefill.source is None:
            prefill.source = self._encode(prefill)
            prefill.source.users += 1
            self._sources.put(prefill.keys[0], prefill.source, exact=True)
        prefill.blocks = [prefill.source.started]
        prefill.remaining = 0
        return prefill.source.logits.clone()

    def _encode(self, prompt: SourcePrompt) -> Source:
        before = prompt.columns_before
        own, seen = DenseCache(1, ROUND + before), DynamicCache()
        for block in prompt.before:
            own.write(block, 0, 0)
        own.window.rows, own.window.end = 1, before
        source = prompt.prefix.content.source if prompt.prefix else None
        encoder_outputs, mask = self._encoder_outputs(prompt.ids, source)
        logits = self._logits(
            EncoderDecoderCache(own, seen),
            encoder_outputs=encoder_outputs,
            attention_mask=mask,
            decoder_input_ids=self._tensor([self._start]),
        )
        pairs = [(layer.keys[0], layer.values[0]) for layer in seen.layers]
        encoded = Block([*pairs], pairs[0][0].shape[-2])
        return Source(encoded, own.cut(0, before, before + len(self._start)), logits[0, -1].float())

    def _encoder_outputs(self, ids: list[int], before: torch.Tensor | None) -> tuple[Any, torch.Tensor]:
        """What the encoder answers to tokens behind vectors [n, D], and the mask of its input."""
        tokens, inputs = self._tensor([ids]), {}
        mask = torch.ones_like(tokens)
        if before is None:
            inputs["input_ids"] = tokens
        else:
            embedded = self.model.get_input_embeddings()(tokens)
            inputs["inputs_embeds"] = torch.cat([before[None].to(embedded), embedded], 1)
            mask = torch.ones(inputs["inputs_embeds"].shape[:2], dtype=mask.dtype, device=self.device)
        outputs = self.model.get_encoder()(attention_mask=mask, return_dict=True, **inputs)
        self._outputs_kind = type(outputs)
        return outputs, mask

    def open(self, prefill: Prompt, capacity: int, *, alone: bool = False) -> Row:
        assert isinstance(prefill, SourcePrompt) and prefill.source is not None
        batch = DenseBatch() if alone else prefill.batch
        blocks = [*prefill.before, *prefill.blocks]
        return batch.add(blocks, len(prefill.ids), capacity, prefill.source.encoded, prefill.prefix)

    def _step(self, ids: torch.Tensor, rows: Many[Row], cache: DenseCache) -> torch.Tensor:
        widths, sources = [row.width for row in rows], [row.source for row in rows]
        longest, cross = max(sources), rows[0].batch.cross
        assert cross is not None
        shape = (len(rows), longest, self.model.config.get_text_config(decoder=True).hidden_size)
        # Nothing of it is read: the decoder has its keys and values. Its shape says that there is an encoder.
        hidden = torch.zeros(1, 1, 1, dtype=self.model.dtype, device=self.device).expand(shape)
        padded = left_padded(widths, 1, self.device)
        extra = {}
        if "decoder_position_ids" in self._accepts:
            extra["decoder_position_ids"] = self._tensor([[width] for width in widths])
        with self._positions.set(None if padded is None else widths):
            return self._logits(
                EncoderDecoderCache(cache, _seen(cross, len(rows), longest)),
                decoder_input_ids=ids,
                decoder_attention_mask=padded,
                attention_mask=_right_padded(sources, self.device),
                encoder_outputs=self._outputs_kind(last_hidden_state=hidden),
                **extra,
            )

    def close(self, handle: Row, ids: Many[int] | None = None) -> None:
        # The whole prompt is the key of what is kept, so a longer one finds nothing.
        handle.batch.remove(handle)

    def forget(self, prefill: Prompt) -> None:
        assert isinstance(prefill, SourcePrompt)
        if prefill.source is not None:
            prefill.source.users -= 1
        prefill.source, prefill.blocks = None, []
        self._sources.shrink(self._sources.limit)

    def cached_bytes(self) -> int:
        return self._sources.idle_bytes()

    def shrink(self, wanted: int) -> None:
        self._sources.shrink(wanted)

    def reference(self, prompt: list[int], answer: list[int]) -> torch.Tensor:
        logits: torch.Tensor = self.model(
            input_ids=self._tensor([prompt]),
            decoder_input_ids=self._tensor([[*self._start, *answer]]),
            use_cache=False,
            return_dict=True,
        ).logits
        return logits[0, len(self._start) - 1 :].float()


def first_tokens(model: Any) -> list[int]:
    """What every answer begins with: the start, and what is forced to follow it. Raises `ModelError`."""
    config = model.config.get_text_config(decoder=True)

    def value_of(name: str) -> int | None:
        for place in (model.generation_config, model.config, config):
            value = getattr(place, name, None)
            if value is not None:
                return int(value[0] if isinstance(value, list) else value)
        return None

    start = value_of("decoder_start_token_id")
    if start is None:
        start = value_of("bos_token_id")
    if start is None:
        raise ModelError(
            "the model does not say with which token its answers begin",
            hint="set decoder_start_token_id in its generation_config.json",
        )
    forced = value_of("forced_bos_token_id")
    return [start] if forced is None else [start, forced]


def _right_padded(lengths: Many[int], device: torch.device) -> torch.Tensor | None:
    longest = max(lengths)
    if min(lengths) == longest:
        return None
    columns = torch.arange(longest, device=device)
    return (columns < torch.tensor(lengths, device=device)[:, None]).long()


def _seen(cross: DenseCache, rows: int, columns: int) -> Cache:
    """What rows see of the encoder, as a cache that is full."""
    layers = []
    for stored in cross.layers:
        layer = DynamicLayer()
        layer.keys, layer.values = stored.keys[:rows, :, :columns], stored.values[:rows, :, :columns]
        layer.is_initialized = True
        layers.append(layer)
    return Cache(layers=layers)
