"""What the guard saw, as it goes from where it was seen to where something is done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["loss_spike", "divergence", "loss_not_finite", "gradient_not_finite"]


@dataclass(frozen=True)
class Trace:
    """One step as the guard remembers it: the first of its rows, its loss, its gradient's norm."""

    step: int
    rows: int
    loss: float
    gradient: float | None = None


@dataclass(frozen=True)
class Alarm:
    """An alarm at `step`, whose update was not made. The rows of the steps from `first_bad` on are suspected;
    weights of before it are not. `skips`: whether leaving those rows out can help."""

    kind: Kind
    step: int
    first_bad: int
    skips: bool
    numbers: dict[str, Any] = field(default_factory=dict)
    trace: tuple[Trace, ...] = ()


class Alarmed(Exception):
    """Raised out of a step that must not be made."""

    def __init__(self, alarm: Alarm) -> None:
        super().__init__(alarm.kind)
        self.alarm = alarm
