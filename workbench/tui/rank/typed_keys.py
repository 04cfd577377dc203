"""What is typed and not committed, for each item that was looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from workbench.errors import UsageError
from workbench.store.preferences.annotator import Annotator, Task, Turn
from workbench.store.preferences.log import Action
from workbench.tui.rank.draft_file import Typed
from workbench.tui.rank.keystrokes import Draft, from_value, of_decision, replay


class TypedKeys:
    """Keys by what they are about; the last is what is on screen."""

    def __init__(self, kept: Iterable[Typed] = ()) -> None:
        self._typed = {typed.turn: typed for typed in kept}

    def of(self, task: Task) -> Typed:
        """What was typed for a task; no keys where another decision stands than when it was, or the answers
        stand in another order."""
        typed = self._typed.get(task.turn)
        return typed if typed is not None and _fits(typed, task) else _nothing_typed(task)

    def draft(self, task: Task) -> Draft:
        """The ranking that the keys amount to, behind the decision that stands, or one that was undone."""
        typed = self.of(task)
        if typed.base is None:
            return replay(of_decision(task.decision, task.shown), typed.keys)
        return replay(from_value(typed.base, len(task.shown)), typed.keys)

    def settled(self, task: Task) -> bool:
        """Whether the ranking is what is decided."""
        typed = self.of(task)
        return task.decision is not None and not typed.keys and typed.base is None

    def with_last(self, typed: Typed) -> list[Typed]:
        """All there is, and this last."""
        return [*(one for one in self._typed.values() if one.turn != typed.turn), typed]

    def put(self, typed: Typed) -> None:
        """This is what is on screen."""
        self._typed = {one.turn: one for one in self.with_last(typed)}

    def drop(self, turn: Turn) -> None:
        """Nothing is typed about it any more."""
        self._typed.pop(turn, None)


def undone(task: Task, action: Action) -> Typed:
    """A decision that was undone, as what is typed: it stands there as it was, and enter makes it again."""
    return replace(_nothing_typed(task), base=of_decision(action, task.shown).as_value())


def task_of(annotator: Annotator, typed: Typed) -> Task | None:
    """What was on screen when keys were typed, None where it was decided since."""
    try:
        task = annotator.task(typed.turn)
    except UsageError:
        return None
    return task if _fits(typed, task) else None


def _nothing_typed(task: Task) -> Typed:
    return Typed(*task.turn, task.shown, decision_of(task))


def _fits(typed: Typed, task: Task) -> bool:
    return typed.decision == decision_of(task) and tuple(typed.shown) == task.shown


def decision_of(task: Task) -> int:
    """The number of the decision that stands, 0 for none."""
    return task.decision.id if task.decision else 0
