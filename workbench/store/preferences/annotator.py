"""One annotator at work in a session: what comes next, what was decided, one step back, undo and redo."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workbench.errors import UsageError
from workbench.store.preferences.contents import Answer, Item, Prompt, read_answers, read_items, read_prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.log import (
    DECISIONS,
    JUDGEMENTS,
    Action,
    Effect,
    append,
    effect,
    read_actions,
)
from workbench.store.preferences.order import NEAREST_AT_END, is_repeated, repeat_distance, shown_order
from workbench.store.preferences.ranks import all_tied, dense
from workbench.store.preferences.sessions import Session

RECENT = 50
"""How many decisions the throughput is of."""
LONGEST_NAME = 100

Turn = tuple[int, int]
"""An item and the occasion: 0 the first time, 1 when it comes again."""


@dataclass(frozen=True)
class Task:
    """An item as one annotator sees it. Which model wrote what is in `answers`, and not for their eyes."""

    item: int
    occasion: int
    position: int
    prompt: Prompt
    shown: tuple[int, ...]
    answers: tuple[Answer, ...]
    decision: Action | None
    flagged: bool
    notes: tuple[str, ...]

    @property
    def turn(self) -> Turn:
        """What this is, to come back to."""
        return self.item, self.occasion


@dataclass(frozen=True)
class Progress:
    """How far an annotator is. `seconds` is the median of the last decisions, `per_hour` what their mean
    makes; both None before the first that was timed."""

    items: int
    done: int
    skipped: int
    flagged: int
    repeated: int
    seconds: float | None
    per_hour: float | None

    @property
    def left(self) -> int:
        """Items that are ready and not decided."""
        return self.items - self.done


class Annotator:
    """A person in a session, known by name. Nothing is kept here that is not in the database, so that a
    kill loses nothing, and another process may add answers and actions meanwhile.

    Every method raises `StorageError` where the database cannot be read or written.
    """

    def __init__(self, database: Database, session: Session, name: str) -> None:
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise UsageError(
                f"{ascii(name)} cannot be the name of an annotator",
                hint=f"give a name of up to {LONGEST_NAME} characters",
            )
        self.database, self.session, self.name = database, session, name
        self._items: dict[int, Item] = {}
        self._last_position = -1
        self._actions: list[Action] = []
        self._effect = Effect()
        self._decided: dict[Turn, Action] = {}
        self._repeats: dict[int, int | None] = {}
        self._seen: dict[Turn, tuple[int, ...]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take in what other processes added."""
        with self.database.snapshot():
            items = read_items(self.database, self.session.id, self._last_position)
            after = self._actions[-1].id if self._actions else 0
            actions = read_actions(self.database, self.session.id, self.name, after)
        for item in items:
            self._items[item.id] = item
            self._last_position = item.position
        if actions:
            self._actions += actions
            for action in actions:
                if action.item is not None and action.shown and action.sides_known:
                    self._seen.setdefault((action.item, action.occasion), action.shown)
            self._effect = effect(self._actions)
            self._decided = {}
            for action in self._effect.holding:
                if action.kind in DECISIONS and action.item is not None:
                    turn = (action.item, action.occasion)
                    self._decided.pop(turn, None)  # the order is that of the last decisions
                    self._decided[turn] = action

    def next(self, order: Iterable[int] | None = None) -> Task | None:
        """What is to be decided next, None when all is done.

        Items come in the session's order, or first in the `order` given, of their numbers, such as one by
        uncertainty; some come again much later with their sides swapped.
        """
        self.refresh()
        early: list[tuple[int, Turn]] = []
        for turn, passed in self._due():
            if passed > 0:
                return self.task(turn)
            early.append((passed, turn))
        for number in [*(order or ()), *self._items]:
            if number in self._items and (number, 0) not in self._decided:
                return self.task((number, 0))
        return self.task(max(early)[1]) if early else None

    def task(self, turn: Turn) -> Task:
        """An item with what was decided, to be looked at or decided anew."""
        number, occasion = turn
        if number not in self._items:
            raise UsageError(f"the session “{self.session.name}” has no item {number}")
        item = self._items[number]
        prompt = read_prompt(self.database, item.prompt)
        answers = read_answers(self.database, item.answers)
        shown = self._shown(turn, prompt, answers)
        about = [action for action in self._effect.holding if action.item == number]
        flags = [bool(action.value.get("on", True)) for action in about if action.kind == "flag"]
        return Task(
            number,
            occasion,
            item.position,
            prompt,
            shown,
            tuple(answers[answer] for answer in shown),
            self._decided.get(turn),
            bool(flags and flags[-1]),
            tuple(str(action.value.get("text", "")) for action in about if action.kind == "note"),
        )

    def back(self, task: Task | None = None) -> Task | None:
        """What was decided before a task, or last of all; None where there is nothing before."""
        self.refresh()
        turns = [turn for turn in self._decided if turn[0] in self._items]
        before = turns[: turns.index(task.turn)] if task is not None and task.turn in turns else turns
        return self.task(before[-1]) if before else None

    def commit(
        self,
        task: Task,
        kind: str = "rank",
        *,
        ranks: Sequence[int] | None = None,
        best: int | None = None,
        milliseconds: int | None = None,
    ) -> Task:
        """Write a decision down and return the task with it; when this returns, the disk has it.

        `kind` is `rank` with `ranks` of the answers as shown (1 best, equal a tie), `best-only` with the
        number, from 0, of the `best`, or `tie`, `all-bad` or `skip`. A task that was decided may be decided
        anew. Raises `UsageError` for ranks that are none.
        """
        value: dict[str, list[int]] = {}
        count = len(task.shown)
        if kind == "rank":
            value["ranks"] = _checked(ranks, count)
            kind = "tie" if all_tied(value["ranks"]) else "rank"
        elif kind == "best-only":
            if best is None or not 0 <= best < count:
                raise UsageError(f"the best of {count} answers cannot be number {best}, counted from 0")
            value["ranks"] = [1 if number == best else 2 for number in range(count)]
        elif kind in JUDGEMENTS:
            value["ranks"] = [1] * count
        elif kind != "skip":
            raise UsageError(f"{kind} is no decision", hint=f"one of {', '.join(sorted(DECISIONS))}")
        self._append(kind, task, value, milliseconds)
        return self.task(task.turn)

    def flag(self, task: Task, reason: str = "", *, on: bool = True) -> Task:
        """Mark an item as one to be looked at by others, or take the mark away."""
        self._append("flag", task, {"on": on, "reason": reason})
        return self.task(task.turn)

    def note(self, task: Task, text: str) -> Task:
        """Write something about an item."""
        self._append("note", task, {"text": text})
        return self.task(task.turn)

    def undo(self) -> Action | None:
        """Undo the last thing this annotator did, whenever that was; what it was, None if there is none."""
        return self._reverse("undo")

    def redo(self) -> Action | None:
        """Take the last undo back, if nothing new was done since; what holds again, None if there is none."""
        return self._reverse("redo")

    def progress(self) -> Progress:
        """Counts and throughput."""
        self.refresh()
        decided = list(self._decided.items())
        flags = {a.item: bool(a.value.get("on", True)) for a in self._effect.holding if a.kind == "flag"}
        times = [a.milliseconds / 1000 for _, a in decided if a.milliseconds][-RECENT:]
        return Progress(
            items=len(self._items),
            done=sum(occasion == 0 for (_, occasion), _ in decided),
            skipped=sum(action.kind == "skip" for _, action in decided),
            flagged=sum(flags.values()),
            repeated=sum(occasion > 0 for (_, occasion), _ in decided),
            seconds=statistics.median(times) if times else None,
            per_hour=3600 * len(times) / sum(times) if times else None,
        )

    def _append(self, kind: str, task: Task, value: Mapping[str, object], took: int | None = None) -> None:
        with self.database.transaction():
            append(
                self.database,
                self.session.id,
                self.name,
                kind,
                item=task.item,
                occasion=task.occasion,
                value=value,
                shown=task.shown,
                milliseconds=took,
            )
        self.refresh()

    def _reverse(self, kind: str) -> Action | None:
        # In one transaction, or a second window of the same annotator might undo the same action.
        with self.database.transaction():
            self.refresh()
            target = self._effect.undoable if kind == "undo" else self._effect.redoable
            if target is None:
                return None
            append(
                self.database,
                self.session.id,
                self.name,
                kind,
                item=target.item,
                occasion=target.occasion,
                target=target.id,
            )
        self.refresh()
        if kind == "undo":
            return target
        return next(action for action in self._actions if action.id == target.target)

    def _shown(self, turn: Turn, prompt: Prompt, answers: Mapping[int, Answer]) -> tuple[int, ...]:
        """How the answers stand: as they stood when something was said of them, which the log holds, else as
        the seed has it; each side is swapped when they come again."""
        number, occasion = turn
        if turn in self._seen:
            return self._seen[turn]
        first = self._seen.get((number, 0)) or shown_order(answers, prompt, self.session.seed, self.name)
        return first[::-1] if occasion % 2 else first

    def _due(self) -> list[tuple[Turn, int]]:
        """Items that are to come again, the longest due first, with how many decisions they are overdue;
        below 1 those that only come now because nothing else is left."""
        found: list[tuple[Turn, int]] = []
        for index, ((number, occasion), action) in enumerate(self._decided.items()):
            if occasion or action.kind not in JUDGEMENTS or number not in self._items:
                continue
            distance = self._repeat_distance(self._items[number].position)
            passed = len(self._decided) - index - 1
            if distance is not None and (number, 1) not in self._decided and passed >= NEAREST_AT_END:
                found.append(((number, 1), passed - distance + 1))
        return sorted(found, key=lambda entry: -entry[1])

    def _repeat_distance(self, position: int) -> int | None:
        if position not in self._repeats:
            key = (position, self.session.seed, self.name)
            again = is_repeated(*key, self.session.settings.repeated)
            self._repeats[position] = repeat_distance(*key) if again else None
        return self._repeats[position]


def _checked(ranks: Sequence[int] | None, count: int) -> list[int]:
    if ranks is None or len(ranks) != count or any(type(rank) is not int or rank < 1 for rank in ranks):
        raise UsageError(
            f"{'no ranks' if ranks is None else list(ranks)} cannot rank {count} answers",
            hint="give one whole number for each answer, 1 for the best, the same for a tie",
        )
    return list(dense(ranks))
