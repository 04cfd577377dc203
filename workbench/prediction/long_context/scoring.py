"""How likely a decoder finds every token of rows of one length, without their logits in memory at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from workbench.objectives.fused_head import can_fuse, logprobs_for_logits

Told = Callable[[int], None]
PIECE = 256
"""Places whose logits are made at a time where the head cannot be exchanged."""


class Scores(NamedTuple):
    """Of every token but the first of rows [N, T]: log-probability [N, T − 1], and whether none is
    likelier."""

    logprobs: NDArray[np.float32]
    is_best: NDArray[np.bool_]


class Scorer:
    """Reads rows in batches of at most `batch_tokens` tokens, one row at least."""

    def __init__(self, model: Any, batch_tokens: int) -> None:
        self.model, self.batch_tokens = model, batch_tokens
        self.device = next(model.parameters()).device
        self.fuses = can_fuse(model)

    @torch.inference_mode()
    def score(self, rows: NDArray[np.int64], told: Told = lambda tokens: None) -> Scores:
        """Scores of rows [N, T]; `told(n)` hears that n more tokens are read."""
        count, length = rows.shape
        together = max(1, self.batch_tokens // length)
        logprobs = np.empty((count, length - 1), np.float32)
        is_best = np.empty((count, length - 1), np.bool_)
        for start in range(0, count, together):
            some = rows[start : start + together]
            own, best = self._batch(torch.from_numpy(some).to(self.device))
            logprobs[start : start + len(some)] = own.float().cpu().numpy()
            is_best[start : start + len(some)] = best.cpu().numpy()
            told(some.size)
        return Scores(logprobs, is_best)

    def _batch(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        on_gpu = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=on_gpu):
            if self.fuses:
                # The last place predicts what is not there.
                targets = F.pad(ids[:, 1:], (0, 1), value=-100)
                with logprobs_for_logits(self.model.get_output_embeddings(), targets) as found:
                    self.model(input_ids=ids, use_cache=False)
                return found[0].logprobs[:, :-1], found[0].is_best[:, :-1]
            logits = self.model(input_ids=ids, use_cache=False).logits[:, :-1]
        pieces = []
        for part, targets in zip(logits.split(PIECE, 1), ids[:, 1:].split(PIECE, 1), strict=True):
            part = part.float()
            of_target = part.gather(-1, targets[..., None])[..., 0]
            pieces.append((of_target - part.logsumexp(-1), of_target >= part.amax(-1)))
        return torch.cat([own for own, _ in pieces], 1), torch.cat([best for _, best in pieces], 1)
