"""Which metrics have a chart while nobody has chosen any: those of every run, and what an objective is
watched by."""

from __future__ import annotations

from collections.abc import Iterable

DEFAULT_METRICS = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second")

OF_OBJECTIVE = {
    "reward": ("accuracy", "margin"),
    "dpo": ("rewards/margins", "rewards/accuracies", "rewards/chosen", "rewards/rejected"),
    "ppo": ("objective/scores", "objective/kl", "objective/entropy", "rollout/length"),
}
"""Behind the loss and before the rest."""

# With one run drawn, what is held out stands in the chart of its training too: the gap is what one looks for.
COMPANION = {
    "loss": "eval_loss",
    **{name: f"eval_{name}" for names in OF_OBJECTIVE.values() for name in names},
    "objective/scores": "eval_score",
    "objective/kl": "eval_kl",
    "rollout/length": "eval_length",
}


def metrics_for(objectives: Iterable[str]) -> tuple[str, ...]:
    """The charts for runs of these objectives."""
    kinds = list(objectives)
    own = [name for objective in kinds for name in OF_OBJECTIVE.get(objective, ())]
    first, *rest = DEFAULT_METRICS
    if kinds and set(kinds) == {"ppo"}:
        # What is held out is scored there, and has no loss.
        rest.remove("eval_loss")
    return (first, *dict.fromkeys(own), *rest)
