"""Watching a run: the guards, and policies that never end their answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from workbench.errors import TrainingError
from workbench.objectives.ppo.guards import Alarm, GuardLimits, Guards
from workbench.recipe.ppo_section import GUARD_CHANCE

if TYPE_CHECKING:
    from workbench.recipe.ppo_section import PPOSection

KL_TARGETS = 6.0
"""Where no limit of the KL is given, so many times its target is one."""
ENDLESS = 3
"""Iterations without one end, after which it is said."""


class Watch:
    """Sees every iteration; its state is in the checkpoint."""

    def __init__(self, section: PPOSection) -> None:
        self.section = section
        limit = section.guard_kl_limit
        if limit is None and section.kl_target is not None:
            limit = KL_TARGETS * section.kl_target
        self.guards = Guards(
            GuardLimits(
                window=section.guard_window,
                recent=section.guard_recent,
                chance=GUARD_CHANCE,
                kl_limit=limit,
                entropy_fraction=section.guard_entropy_fraction,
                length_factor=section.guard_length_factor,
            )
        )
        self.endless = 0
        self.on_warning: Callable[[Alarm, int], None] = lambda alarm, step: None
        """Told of an alarm that nothing is done about, once for each kind."""
        self._said: set[str] = set()

    def observe(self, *, kl: float, entropy: float, length: float, ended: float, step: int) -> Alarm | None:
        """An alarm that the run is to stop for, by the recipe; of others `on_warning` hears once."""
        self._endless(ended)
        if self.section.guard == "off":
            return None
        for alarm in self.guards.observe(kl=kl, entropy=entropy, length=length):
            if self.section.guard == "stop":
                return alarm
            if alarm.kind not in self._said:
                self._said.add(alarm.kind)
                self.on_warning(alarm, step)
        return None

    def _endless(self, ended: float) -> None:
        self.endless = 0 if ended else self.endless + 1
        if self.endless == ENDLESS:
            self._say(
                f"not one answer of the last {ENDLESS} iterations came to an end within "
                f"{self.section.response_length} tokens: all are cut off and judged as they are. If they are "
                "meant to end, raise ppo.response_length, set ppo.missing_eos_penalty, or begin with a model "
                "that was taught to end its answers."
            )

    def _say(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with."""
        return {"guards": self.guards.state_dict(), "endless": self.endless}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with it."""
        self.guards.load_state_dict(state["guards"])
        self.endless = int(state["endless"])


def collapsed(alarm: Alarm, step: int, kept: str) -> TrainingError:
    """The error that ends a run for an alarm."""
    return TrainingError(
        f"stopped at iteration {step}. {alarm.sentence}",
        where="ppo.guard",
        hint=f"{alarm.advice} The policy as it is lies in {kept}; ppo.guard=warn goes on all the same.",
    )
