"""Where the events of the drawn runs stand on the charts' x axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from workbench.store.events import EventTail, RunEvent
from workbench.tui.text import reveal_control
from workbench.tui.train.axes import XAxis

if TYPE_CHECKING:
    from workbench.store.runs import Run

MOST = 200
"""Marks of a run; of more, the alarms first and of either the newest."""


@dataclass(frozen=True)
class PlacedEvent:
    """An event on the x axis of the charts."""

    x: float
    label: str
    grave: bool


class MarksRead(Message):
    """The events of all drawn runs, after one of them changed."""

    def __init__(self, serial: int, events: tuple[PlacedEvent, ...]) -> None:
        super().__init__()
        self.serial, self.events = serial, events


class MarksReader:
    """Reads the events of the drawn runs, in the polling thread."""

    def __init__(self) -> None:
        self._tails: dict[str, EventTail] = {}
        self._sent: tuple[int, tuple[PlacedEvent, ...]] = (-1, ())

    def read(
        self, serial: int, runs: dict[str, Run], axis: XAxis, begins: Callable[[str], float | None]
    ) -> MarksRead | None:
        """The message to post when anything changed since the last; `begins` tells the time of a run's first
        record."""
        placed: list[PlacedEvent] = []
        tails = {name: self._tails.get(name) or EventTail(run.events_path) for name, run in runs.items()}
        self._tails = tails
        for name, tail in tails.items():
            tail.poll()
            events = tail.events
            if len(events) > MOST:
                # Alarms behind the notes, so that these are the first to go.
                events = sorted(events, key=lambda event: event.is_alarm)[-MOST:]
            begin = begins(name) if events and axis == "time" else None
            alone = len(runs) == 1
            for event in events:
                x = place(event, axis, begin)
                if x is not None:
                    label = f"{event.title}, step {event.step:,}" + ("" if alone else f" of {name}")
                    placed.append(PlacedEvent(x, reveal_control(label), event.is_alarm))
        found = (serial, tuple(placed))
        if found == self._sent or (not placed and not self._sent[1]):
            return None
        self._sent = found
        return MarksRead(serial, found[1])


def place(event: RunEvent, axis: XAxis, begin: float | None) -> float | None:
    """Where an event stands on an axis; None where it has no place there."""
    if axis == "step":
        return float(event.step)
    if axis == "num_tokens":
        return float(event.num_tokens) if event.num_tokens else None
    return None if begin is None or not event.time else max(0.0, event.time - begin)
