"""From the log-probability of each token to that of a whole completion."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from workbench.objectives.reductions import masked


@dataclass(frozen=True)
class SequenceLogprobs:
    """Log-probabilities of completions: `sums` [B] in nats, and how many tokens each has, `counts` [B]."""

    sums: Tensor
    counts: Tensor

    @property
    def means(self) -> Tensor:
        """Per token [B]; 0 for a completion without tokens."""
        return self.sums / self.counts.clamp(min=1)

    def __getitem__(self, rows: slice | Tensor) -> SequenceLogprobs:
        """Some of the rows, or rows by their numbers, each as often as it is named."""
        return SequenceLogprobs(self.sums[rows], self.counts[rows])


def completion_logprobs(logprobs: Tensor, mask: Tensor) -> SequenceLogprobs:
    """Log-probabilities summed over completion tokens only, in fp32.

    `logprobs` [B, T] has at each place the log-probability of the token that `mask` [B, T] speaks of (1 for a
    token of the completion, its end included; 0 for prompt and padding), so both are shifted alike. What
    stands at places without a mask, infinities too, has no part in values or gradients.
    """
    if logprobs.shape != mask.shape:
        raise ValueError(f"log-probabilities {tuple(logprobs.shape)} and mask {tuple(mask.shape)} differ")
    return SequenceLogprobs(masked(logprobs, mask).sum(-1), mask.sum(-1))
