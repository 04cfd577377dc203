"""What iterations gave since the last line of metrics; it is in the checkpoint, so that a resumed run logs
the same numbers."""

from __future__ import annotations

from collections.abc import Sequence

NAMES = (
    *("objective/kl", "objective/entropy", "objective/non_score_reward", "objective/rlhf_reward"),
    *("objective/scores", "objective/kl_coef"),
    *("policy/approxkl_avg", "policy/clipfrac_avg", "policy/entropy_avg"),
    *("loss", "loss/policy_avg", "loss/value_avg", "loss/kl_avg"),
    *("val/ratio", "val/ratio_var", "val/clipfrac_avg", "val/error"),
    *("grad_norm", "critic/grad_norm"),
    *("rollout/length", "rollout/ended", "rollout/unscored"),
    *("rewards/model", "rewards/pattern", "rewards/function"),
)
"""All that an iteration may give, in an order that checkpoints rely on."""


class Window:
    """Means over iterations. Each name has its own count: not every iteration gives every number."""

    def __init__(self, values: Sequence[float] = ()) -> None:
        size = 2 * len(NAMES)
        self.values = list(values) if len(values) == size else [0.0] * size

    def add(self, found: dict[str, float]) -> None:
        """One iteration's numbers; NaN is none."""
        for place, name in enumerate(NAMES):
            value = found.get(name)
            if value is not None and value == value:
                self.values[2 * place] += value
                self.values[2 * place + 1] += 1

    def means(self) -> dict[str, float]:
        """The mean of each number that there is."""
        return {
            name: self.values[2 * place] / self.values[2 * place + 1]
            for place, name in enumerate(NAMES)
            if self.values[2 * place + 1]
        }

    def clear(self) -> None:
        """Start anew."""
        self.values = [0.0] * len(self.values)
