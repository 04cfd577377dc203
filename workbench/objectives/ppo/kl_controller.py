"""How dear it is to leave the reference: a fixed coefficient, or one that steers towards a target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from workbench.errors import CheckpointError, RecipeError, TrainingError

LARGEST_ERROR = 0.2
"""What the proportional error is clipped to (Ziegler et al. 2019, section 2.2)."""


class KLController(Protocol):
    """A coefficient β, moved after each batch of rollouts; its state belongs in the checkpoint."""

    @property
    def coefficient(self) -> float:
        """The β that the next rewards are made with."""
        ...

    def update(self, kl: float, episodes: int) -> None:
        """Take note of the mean KL of a response, in nats, over `episodes` responses."""
        ...

    def state_dict(self) -> dict[str, float]:
        """What a resumed run goes on with."""
        ...

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on with it."""
        ...


@dataclass
class FixedKL:
    """The same β for ever."""

    coefficient: float

    def __post_init__(self) -> None:
        _check(self.coefficient, "kl_coef")

    def update(self, kl: float, episodes: int) -> None:
        """Nothing to move."""

    def state_dict(self) -> dict[str, float]:
        """β, for a look at the checkpoint."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Nothing to take: the recipe says what β is."""


@dataclass
class AdaptiveKL:
    """β ← β·(1 + clip(KL/target − 1, ±0.2)·n/horizon).

    Source: Ziegler et al. 2019, section 2.2. `target` in nats a response, `horizon` in responses.
    """

    coefficient: float
    target: float
    horizon: float

    def __post_init__(self) -> None:
        _check(self.coefficient, "kl_coef", above=0.0)
        _check(self.target, "kl_target", above=0.0)
        _check(self.horizon, "kl_horizon", above=0.0)

    def update(self, kl: float, episodes: int) -> None:
        """More than the target makes leaving dearer, less makes it cheaper."""
        if not math.isfinite(kl):
            raise TrainingError(
                f"the KL between policy and reference is {kl}",
                where="the update of the KL coefficient",
                hint="a lower learning_rate; resume from the last checkpoint",
            )
        error = min(max(kl / self.target - 1, -LARGEST_ERROR), LARGEST_ERROR)
        step = error * episodes / self.horizon
        if step <= -1:
            raise RecipeError(
                f"{episodes} responses at once would turn the KL coefficient to 0 or below",
                where="kl_horizon",
                hint=f"more than {LARGEST_ERROR * episodes:g}; usual is 10000",
            )
        self.coefficient *= 1 + step

    def state_dict(self) -> dict[str, float]:
        """β as it has become."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on with β as it had become."""
        value = state.get("coefficient")
        if not isinstance(value, float | int) or not 0 < value < math.inf:
            raise CheckpointError(f"the KL coefficient of the checkpoint is {value!r}")
        self.coefficient = float(value)


def _check(value: float, key: str, above: float | None = None) -> None:
    if not math.isfinite(value) or value < 0 or (above is not None and value <= above):
        least = "0 or more" if above is None else f"above {above:g}"
        raise RecipeError(f"{key} is {value}", where=key, hint=f"a number {least}")
