"""What PPO's guards see, among the events of the run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from workbench.store.events import RunEvent

if TYPE_CHECKING:
    from workbench.errors import TrainingError
    from workbench.objectives.ppo.guards import Alarm

WARNED = "Nothing: ppo.guard is warn."


def of_guard(alarm: Alarm, step: int, numbers: dict[str, float], num_tokens: int, kept: str = "") -> RunEvent:
    """The event of an alarm: of one that the run ends for, with `kept`, the checkpoint of the policy as it
    is; or of one that is only noted."""
    return RunEvent(
        step=step,
        kind=alarm.kind,
        action="stopped" if kept else "warned",
        happened=alarm.sentence,
        done=f"The run was ended; the policy as it is lies in {kept}." if kept else WARNED,
        advice=alarm.advice,
        numbers=numbers,
        num_tokens=num_tokens,
        time=time.time(),
    )


def of_error(error: TrainingError, step: int, num_tokens: int) -> RunEvent:
    """The event of a loss or a gradient that became no number."""
    return RunEvent(
        step=step,
        kind="gradient_not_finite" if "gradient" in error.message else "loss_not_finite",
        action="stopped",
        happened=f"{error.message[0].upper()}{error.message[1:]} at iteration {step:,}.",
        why="The policy, or the critic, was driven too far by the steps of this iteration.",
        done="The run was ended; its last checkpoint is from before.",
        advice=error.hint,
        num_tokens=num_tokens,
        time=time.time(),
    )
