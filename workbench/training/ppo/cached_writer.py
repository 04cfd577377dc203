"""Answers by transformers' own forward with its cache: any causal model, any device.

Prompts are padded on the left, with positions that count real tokens alone. Rows that have ended leave the
batch once they are half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache

from workbench.objectives.places import bare
from workbench.training.ppo.answers import Answer, Manner, Told
from workbench.training.ppo.drawing import draw

if TYPE_CHECKING:
    from torch import Tensor, nn


class CachedWriter:
    """See `Writer`."""

    def __init__(self, model: Any, manner: Manner, bf16: bool, reason: str) -> None:
        self.model, self.manner, self.bf16 = model, manner, bf16
        self.name = f"transformers ({reason})"

    @torch.no_grad()
    def write(
        self, prompts: Sequence[Sequence[int]], samples: int, chances: Tensor, told: Told
    ) -> list[Answer]:
        """See `Writer.write`."""
        total, found = len(prompts) * samples, list[Any]()
        together = max(1, self.manner.rows // samples)
        for start in range(0, len(prompts), together):
            some = prompts[start : start + together]
            own = chances[start * samples : (start + len(some)) * samples]
            before = len(found)
            # One context for all steps: it keeps the weights that it has made narrower.
            with self._autocast(self.bf16):
                found += self._write(some, samples, own, partial(_further, told, before, total))
        return found

    def _write(
        self, prompts: Sequence[Sequence[int]], samples: int, chances: Tensor, told: Callable[[int], None]
    ) -> list[Answer]:
        device = next(self.model.parameters()).device
        width, count = max(map(len, prompts)), len(prompts) * samples
        ids = torch.zeros(len(prompts), width, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        cache = DynamicCache(config=bare(self.model).config)
        logits = self._step(ids, mask, (mask.cumsum(1) - 1).clamp(min=0), cache)
        cache.batch_repeat_interleave(samples)
        logits, mask = (part.repeat_interleave(samples, 0) for part in (logits, mask))
        answers = [Answer([], []) for _ in range(count)]
        ends = torch.tensor(sorted(self.manner.ends), device=device, dtype=torch.int64)
        # The rows of the batch: which answers they are, and whether each still goes on.
        rows, going = torch.arange(count, device=device), torch.ones(count, dtype=torch.bool, device=device)
        for place in range(self.manner.length):
            with self._autocast(False):
                tokens, logprobs = draw(logits, self.manner.temperature, chances[rows.cpu(), place])
            for row, goes, token, logprob in zip(
                rows.tolist(), going.tolist(), tokens.tolist(), logprobs.tolist(), strict=True
            ):
                if goes:
                    answers[row].ids.append(token)
                    answers[row].logprobs.append(logprob)
            going &= ~torch.isin(tokens, ends)
            left = int(going.sum())
            told(count - left)
            if not left or place + 1 == self.manner.length:
                break
            if 2 * left <= len(rows):
                kept = going.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                rows, mask, tokens, going = rows[kept], mask[kept], tokens[kept], going[kept]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            logits = self._step(tokens[:, None], mask, mask.sum(1, keepdim=True) - 1, cache)
        told(count)
        return answers

    def _autocast(self, enabled: bool) -> torch.autocast:
        return torch.autocast(next(self.model.parameters()).device.type, torch.bfloat16, enabled=enabled)

    def _step(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        """Logits [B, V] of the last column."""
        head: nn.Module = bare(self.model).get_output_embeddings()
        handle = head.register_forward_pre_hook(lambda module, given: (given[0][:, -1:], *given[1:]))
        try:
            found = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
        finally:
            handle.remove()
        logits: Tensor = found.logits[:, -1].float()
        return logits


def _further(told: Told, before: int, total: int, done: int) -> None:
    told(before + done, total)
