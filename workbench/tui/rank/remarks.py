"""Flags and notes as the ranking screen shows them."""

from __future__ import annotations

from workbench.store.preferences.annotator import Task, Turn
from workbench.store.preferences.log import Action


class Remarks:
    """What an annotator remarked on an item. What they did the first time would tell a repetition from the
    others, so that of one only what was done with it on screen counts."""

    def __init__(self) -> None:
        self._flags: dict[Turn, bool] = {}
        self._notes: dict[Turn, tuple[str, ...]] = {}

    def flagged(self, task: Task) -> bool:
        """Whether it is flagged."""
        return self._flags.get(task.turn, False) if task.occasion else task.flagged

    def notes(self, task: Task) -> tuple[str, ...]:
        """What was noted about it."""
        return self._notes.get(task.turn, ()) if task.occasion else task.notes

    def flag(self, turn: Turn, on: bool) -> None:
        """It was flagged, or no longer is."""
        self._flags[turn] = on

    def note(self, turn: Turn, text: str) -> None:
        """Something was noted."""
        self._notes[turn] = (*self._notes.get(turn, ()), text)

    def reversed(self, turn: Turn, action: Action, *, again: bool) -> None:
        """A flag or a note was undone, or done `again`."""
        if action.kind == "flag":
            self.flag(turn, bool(action.value.get("on", True)) == again)
        elif again:
            self.note(turn, str(action.value.get("text", "")))
        else:
            self._notes[turn] = self._notes.get(turn, ())[:-1]
