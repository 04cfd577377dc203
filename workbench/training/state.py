"""All that a run needs to go on exactly where it was, besides weights, optimiser and random numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from workbench.errors import CheckpointError


@dataclass
class TrainState:
    """Counters of a run. They go into `trainer_state.json` of every checkpoint.

    `rows` is the position in the data: the number of rows taken by all processes together, through
    all epochs. `window` adds up what has been trained on since the last line of metrics (see `Totals`),
    so that a run resumed between two lines logs the same numbers as one that never stopped. `guard` is the
    state of the guard, with the rows that are left out (see `training.guard`).
    `best_score` is the metric that decides which checkpoint is best, negated where less is better.
    """

    step: int = 0
    rows: int = 0
    num_tokens: int = 0
    best_eval_loss: float | None = None
    best_step: int | None = None
    eval_loss: float | None = None
    best_score: float | None = None
    window: list[float] = field(default_factory=list)
    data_key: str = ""
    guard: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any], where: str) -> TrainState:
        known = {item.name for item in fields(cls)}
        # Checkpoints that were written without a guard go on with a fresh one.
        if missing := known - value.keys() - {"guard"}:
            raise CheckpointError(f"trainer_state.json lacks {', '.join(sorted(missing))}", where=where)
        return cls(**{key: item for key, item in value.items() if key in known})
