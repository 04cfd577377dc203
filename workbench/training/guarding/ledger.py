"""What a run has learned from its alarms, which no rollback takes back: rows left out, rollbacks, learning
rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

RECENT_STEPS = 512
"""Rollbacks of longer ago do not count towards `stability.max_rollbacks`: the run has got on."""
REPEAT_STEPS = 32
"""An alarm within so many steps of the one before is the same trouble: leaving rows out has not helped."""


@dataclass
class Ledger:
    """What is kept through all rollbacks.

    `skipped` are ranges of rows, [first, behind the last), in order and apart; `left_out` those in the order
    of the alarms, each with the epoch from which on what they were made of is left out; `reached` is behind
    the last row that was ever taken. `rollbacks` counts them, `alarms` are the steps of the alarms that the
    latest answered; `last_alarm` is the step of the last one, `streak` how often it was the same trouble
    again, `last_target` the step that was gone back to. `lr_scale` multiplies every learning rate from now
    on."""

    skipped: list[list[int]] = field(default_factory=list)
    left_out: list[list[int]] = field(default_factory=list)
    reached: int = 0
    rollbacks: int = 0
    alarms: list[int] = field(default_factory=list)
    lr_scale: float = 1.0
    last_alarm: int | None = None
    streak: int = 0
    last_target: int | None = None

    def alarm(self, step: int) -> None:
        """Count an alarm that is answered by a rollback."""
        again = self.last_alarm is not None and step <= self.last_alarm + REPEAT_STEPS
        self.streak = self.streak + 1 if again else 0
        self.rollbacks += 1
        self.alarms = [*self._recent(step), step]
        self.last_alarm = step if self.last_alarm is None or not again else max(step, self.last_alarm)

    def num_recent(self, step: int) -> int:
        """How many rollbacks there were within the last `RECENT_STEPS` before a step."""
        return len(self._recent(step))

    def _recent(self, step: int) -> list[int]:
        # Those of later steps too: the run has been there, and has gone back.
        return [alarm for alarm in self.alarms if alarm > step - RECENT_STEPS]

    def skip(self, first: int, end: int) -> None:
        """Never train on rows `first` to before `end`."""
        if first >= end:
            return
        joined: list[list[int]] = []
        for low, high in sorted([*self.skipped, [first, end]]):
            if joined and low <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], high)
            else:
                joined.append([low, high])
        self.skipped = joined

    def position(self, rows: int, count: int) -> int:
        """The first place from `rows` on where `count` rows lie together, none of them left out."""
        for low, high in self.skipped:
            if rows + count <= low:
                break
            rows = max(rows, high) if rows + count > low and rows < high else rows
        return rows

    def reach(self, rows: int, count: int, steps: int) -> int:
        """Behind the last row that is taken when so many steps of `count` rows are made from `rows` on."""
        for low, _ in self.skipped:
            whole = min(steps, max(0, low - rows) // count)
            rows, steps = rows + whole * count, steps - whole
            rows = self.position(rows, count) if steps else rows
        return rows + steps * count

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Ledger:
        """The ledger of a checkpoint."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: item for name, item in value.items() if name in known})
