"""Log-probabilities and entropies of answers' tokens, by the chunk: logits of a few places exist at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from workbench.objectives.fused_head import can_fuse
from workbench.objectives.places import bare, instead, only_at
from workbench.objectives.ppo.losses import token_entropy

if TYPE_CHECKING:
    from workbench.training.ppo.rows import Rows

CHUNK = {"cpu": 1 << 22}
OTHER_CHUNK = 1 << 26
"""Logits of a chunk: 16 MiB of fp32 on a CPU, 256 MiB elsewhere."""


class TokenLogprobs:
    """What a causal model says of the tokens of answers, at a temperature.

    The old log-probabilities and those of the first step come from one function, on the same rows: so the
    first ratio is 1 to the last bit. In training a chunk's logits are made again for the backward pass.
    """

    def __init__(self, model: nn.Module, temperature: float) -> None:
        self.model, self.temperature = model, temperature
        # What is behind the head of a model that caps or scales its logits must be asked of the model.
        self._is_plain = can_fuse(model)

    def __call__(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Log-probabilities [N], with gradients, and entropies in nats [N], without."""
        head: Any = bare(self.model).get_output_embeddings()
        if not self._is_plain:
            with only_at(head, rows.places):
                logits = self._run(rows).flatten(0, -2)
            return self._chunked(rows, logits, lambda some: some)
        found: list[tuple[Tensor, Tensor]] = []

        def forward(states: Tensor) -> Tensor:
            wanted = states.flatten(0, 1)[rows.places]
            found.append(self._chunked(rows, wanted, lambda some: linear(some, head.weight, head.bias)))
            return found[0][0].detach()[None, :1, None]

        with instead(head, forward):
            self._run(rows)
        return found[0]

    def _run(self, rows: Rows) -> Tensor:
        logits: Tensor = self.model(input_ids=rows.ids, position_ids=rows.positions, use_cache=False).logits
        return logits

    def _chunked(
        self, rows: Rows, given: Tensor, logits_of: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """`given` [N, …] in parts, each through `logits_of` to the numbers of its tokens."""
        vocabulary = int(bare(self.model).get_output_embeddings().weight.shape[0])
        size = max(1, CHUNK.get(given.device.type, OTHER_CHUNK) // vocabulary)

        def numbers(some: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            logits = logits_of(some).float() / self.temperature
            logprobs = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]
            with torch.no_grad():
                entropy = token_entropy(logits)
            return logprobs, entropy

        parts = []
        # What fits into one chunk is kept: there is nothing to save.
        again = torch.is_grad_enabled() and len(given) > size
        for start in range(0, len(given), size):
            some, targets = given[start : start + size], rows.targets[start : start + size]
            if again:
                parts.append(checkpoint(numbers, some, targets, use_reentrant=False))
            else:
                parts.append(numbers(some, targets))
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
