"""Answers by the workbench's own decoder, on the weights of the policy where they lie.

A prompt is read once for all its answers, which refer to its keys and values; an answer that has ended
makes room for the next at once, so no step is spent on padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from workbench.models.live_decoder import LiveDecoder
from workbench.ops.decode import (
    DecoderWeights,
    Row,
    Segment,
    choose,
    decode_step,
    prefill,
    prefill_reference,
)
from workbench.training.ppo.answers import Answer, Manner, Told
from workbench.training.ppo.drawing import draw

if TYPE_CHECKING:
    from torch import Tensor


BLOCK = 64
"""Tokens that an answer gets room for at a time."""
PART = 256
"""Tokens of a prompt that are read at a time."""


@dataclass
class _Open:
    """An answer that is being written: its number, its keys and values, what it says so far."""

    number: int
    row: Row
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class NativeWriter:
    """See `Writer`. For a model of which `why_not_live` says nothing."""

    def __init__(self, model: Any, manner: Manner, positions: int, dtype: torch.dtype) -> None:
        self.manner = manner
        self.decoder = LiveDecoder(model, positions, dtype)
        self.name = f"native decoder, {str(dtype).removeprefix('torch.')}"

    @torch.no_grad()
    def write(
        self, prompts: Sequence[Sequence[int]], samples: int, chances: Tensor, told: Told
    ) -> list[Answer]:
        """See `Writer.write`."""
        weights, total = self.decoder.weights(), len(prompts) * samples
        reads_fast = choose(weights).prefill
        found: list[Answer | None] = [None] * total
        active: list[_Open] = []
        started = done = 0
        shared: Segment | None = None
        first = torch.empty(0)
        logits = torch.empty(self.manner.rows, weights.head.shape[0])
        while done < total:
            while started < total and len(active) < self.manner.rows:
                if started % samples == 0:
                    shared, first = _read(weights, prompts[started // samples], reads_fast)
                assert shared is not None
                opened = _Open(started, Row([shared]))
                self._append([opened], first, chances)
                active.append(opened)
                started += 1
            for one in [one for one in active if self._is_over(one)]:
                found[one.number] = Answer(one.ids, one.logprobs)
                active.remove(one)
                done += 1
                told(done, total)
            if not active or (started < total and len(active) < self.manner.rows):
                continue
            for one in active:
                last = one.row.segments[-1]
                if len(one.row.segments) == 1 or last.length == last.room:
                    left = self.manner.length - len(one.ids)
                    one.row.segments.append(_segment(weights, min(BLOCK, left)))
            tokens = torch.tensor([one.ids[-1] for one in active])
            out = logits[: len(active)]
            decode_step(weights, tokens, [one.row for one in active], out=out)
            for one in active:
                one.row.segments[-1].length += 1
            self._append(active, out, chances)
            told(done, total)
        return [answer for answer in found if answer is not None]

    def _append(self, rows: Sequence[_Open], logits: Tensor, chances: Tensor) -> None:
        """One more token for each."""
        numbers, places = [one.number for one in rows], [len(one.ids) for one in rows]
        tokens, logprobs = draw(logits, self.manner.temperature, chances[numbers, places])
        for one, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            one.ids.append(token)
            one.logprobs.append(logprob)

    def _is_over(self, one: _Open) -> bool:
        return one.ids[-1] in self.manner.ends or len(one.ids) == self.manner.length


def _segment(weights: DecoderWeights, tokens: int) -> Segment:
    shape = (2, len(weights.layers), weights.kv_heads, tokens, weights.head_dim)
    keys, values = torch.empty(shape, dtype=weights.dtype)
    return Segment(keys, values, 0)


def _read(weights: DecoderWeights, prompt: Sequence[int], fast: bool) -> tuple[Segment, Tensor]:
    """Keys and values of a prompt, and the logits [1, V] behind it."""
    segment = _segment(weights, len(prompt))
    row, logits = Row([segment]), torch.empty(0)
    for start in range(0, len(prompt), PART):
        ids = torch.tensor(prompt[start : start + PART])
        last = start + PART >= len(prompt)
        if fast or len(prompt) < 16:
            logits = prefill(weights, ids, row, logits="last" if last else "none")
        else:
            wanted = range(len(ids))[-1:] if last else range(0)
            logits = prefill_reference(weights, ids, row, wanted)
        segment.length += len(ids)
    return segment, logits
