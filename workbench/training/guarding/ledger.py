"""What a run has learned from its alarms, which no rollback takes back: rows left out, rollbacks, learning
rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

REPEAT_STEPS = 32
"""An alarm within so many steps of the one before is the same trouble: leaving rows out has not helped."""


@dataclass
class Ledger:
    """`skipped` are ranges of rows, [first, behind the last), in order and apart; `lr_scale` multiplies every
    learning rate from now on; `last_alarm` is the step of the last rollback's alarm, `streak` how often it
    was the same trouble again, `last_target` the step that was gone back to."""

    skipped: list[list[int]] = field(default_factory=list)
    rollbacks: int = 0
    lr_scale: float = 1.0
    last_alarm: int | None = None
    streak: int = 0
    last_target: int | None = None

    def alarm(self, step: int) -> None:
        """Count an alarm that is answered by a rollback."""
        again = self.last_alarm is not None and step <= self.last_alarm + REPEAT_STEPS
        self.streak = self.streak + 1 if again else 0
        self.rollbacks += 1
        self.last_alarm = step if self.last_alarm is None or not again else max(step, self.last_alarm)

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

    @property
    def num_skipped(self) -> int:
        """How many rows are left out."""
        return sum(high - low for low, high in self.skipped)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Ledger:
        """The ledger of a checkpoint."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: item for name, item in value.items() if name in known})
