"""A run as one row of the table, and the orders and filters that rows can be put through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from workbench.store.runs import Run
from workbench.store.status import Status

SYMBOLS = {
    "queued": ("○", "."),
    "starting": ("◔", "~"),
    "preparing": ("◔", "~"),
    "running": ("●", ">"),
    "saving": ("◉", ">"),
    "stopping": ("◑", "~"),
    "finished": ("✓", "+"),
    "stopped": ("■", "="),
    "failed": ("✗", "x"),
    "lost": ("?", "?"),
    "unknown": ("?", "?"),
}
"""The symbol of each state, and the same in ASCII. They differ without their colours too."""

ROLES = {
    "running": "good",
    "saving": "good",
    "finished": "done",
    "failed": "bad",
    "lost": "bad",
    "unknown": "bad",
    "starting": "warn",
    "preparing": "warn",
    "stopping": "warn",
}
"""The role, and so the colour, of each state; states without one are dim."""

RESUMABLE = ("queued", "stopped", "failed", "lost")


@dataclass(frozen=True)
class Row:
    """What the table shows of one run: its folder, what its worker wrote, and the state to show."""

    run: Run
    status: Status
    state: str
    created: float

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def active(self) -> bool:
        """Whether a worker is at it."""
        return self.state in ("starting", "preparing", "running", "saving", "stopping")

    @property
    def resumable(self) -> bool:
        """Whether a worker could be started on it."""
        return self.state in RESUMABLE

    @property
    def share(self) -> float | None:
        """How much of the run is done, 0 to 1."""
        return self.status.step / self.status.max_steps if self.status.max_steps else None


def _number(value: float | None) -> tuple[bool, float]:
    # Rows without a value come last, whatever the direction of the others.
    missing = value is None or value != value
    return (missing, 0.0 if missing or value is None else value)


ORDERS: dict[str, tuple[str, Callable[[Row], Any]]] = {
    "created": ("newest", lambda row: -row.created),
    "name": ("name", lambda row: row.name.lower()),
    "state": ("state", lambda row: (not row.active, row.state, -row.created)),
    "step": ("step", lambda row: -row.status.step),
    "loss": ("loss", lambda row: _number(row.status.loss)),
    "eval_loss": ("eval", lambda row: _number(row.status.eval_loss)),
    "eta": ("ETA", lambda row: _number(row.status.eta_seconds if row.active else None)),
}
"""What rows can be sorted by: (word, key); each puts first what one looks for first."""


def arrange(rows: Iterable[Row], filter_text: str, order: str, reverse: bool) -> list[Row]:
    """The rows that hold every word of the filter, sorted."""
    words = filter_text.lower().split()
    kept = [row for row in rows if all(word in _haystack(row) for word in words)]
    return sorted(kept, key=ORDERS[order][1], reverse=reverse)


def _haystack(row: Row) -> str:
    return f"{row.name} {row.state} {row.status.objective} {row.status.model}".lower()
