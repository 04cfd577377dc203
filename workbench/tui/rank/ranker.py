"""One annotator's work on a session, from key to database: what the ranking screen shows follows from this.

Nothing here is a widget. Every step either is on disk when it returns, or raises and leaves all as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from workbench.errors import UsageError, WorkbenchError
from workbench.store.preferences.annotator import Annotator, Task
from workbench.store.preferences.database import Database
from workbench.store.preferences.log import DECISIONS, Action
from workbench.store.preferences.sessions import Session, find_session
from workbench.store.preferences.statistics.uncertainty import by_uncertainty
from workbench.tui.rank.desk import Desk
from workbench.tui.rank.draft_file import Typed, keep_typed, kept_typed
from workbench.tui.rank.item_scores import ItemScores
from workbench.tui.rank.keystrokes import Draft
from workbench.tui.rank.remarks import Remarks
from workbench.tui.rank.standing import Standing, standing_of
from workbench.tui.rank.typed_keys import TypedKeys, task_of, undone

R = TypeVar("R")

DONE_WORDS = {
    "rank": "the ranking",
    "tie": "the tie",
    "best-only": "the best",
    "all-bad": "all bad",
    "skip": "the skip",
    "flag": "the flag",
    "note": "the note",
}


class Ranker:
    """What is on screen: `task` with its `draft`, where the annotator stands, and what was `said` last.

    Its methods are called one after the other. All raise `WorkbenchError`.
    """

    def __init__(self, desk: Desk, session: str, name: str) -> None:
        self.session_name, self.name = session, name
        self.session: Session | None = None
        self.task: Task | None = None
        self.standing: Standing | None = None
        self.said = ""
        self.unkept: WorkbenchError | None = None
        """Why what is typed cannot be kept for after a kill."""
        self.scores = ItemScores()
        self._desk = desk
        self._annotator: Annotator | None = None
        self._typed = TypedKeys()
        self._undone_keys = ""
        self._since = time.monotonic()
        self._remarks = Remarks()

    @property
    def draft(self) -> Draft:
        """The ranking as it is typed; empty where there is nothing to rank."""
        return self._typed.draft(self.task) if self.task else Draft(0)

    @property
    def settled(self) -> bool:
        """Whether what is shown is what is decided."""
        return self.task is not None and self._typed.settled(self.task)

    @property
    def flagged(self) -> bool:
        """Whether the annotator flagged it."""
        return self.task is not None and self._remarks.flagged(self.task)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the annotator noted about it."""
        return self._remarks.notes(self.task) if self.task else ()

    # What the keys do.

    async def open(self) -> None:
        """Begin, or go on where the annotator left."""

        def work(annotator: Annotator) -> tuple[Session, list[Typed], Task | None, Standing]:
            kept = kept_typed(annotator.session, annotator.name)
            task = task_of(annotator, kept[-1]) if kept else None
            task = task or annotator.next()
            return annotator.session, kept, task, standing_of(annotator, generate=True)

        session, kept, task, standing = await self._with(work)
        self.session, self.standing = session, standing
        self._typed = TypedKeys(kept)
        self._show(task)

    async def press(self, key: str) -> None:
        """A key of the ranking. It is shown once it is kept."""
        if self.task is None:
            return
        if self.draft.press(key) == self.draft:
            self.said = _no_use(key, self.draft)
            return
        await self._retype(self.task, self._typed.of(self.task).keys + key)
        self._undone_keys = ""

    async def commit(self) -> None:
        """Write down what is typed, and go on."""
        task, draft = self.task, self.draft
        if task is None:
            return
        if self.settled:
            await self.forward()
            return
        if not draft.complete:
            missing = ", ".join(str(number + 1) for number in draft.missing)
            self.said = f"no place yet: {missing}" if draft.groups else "the number of the best answer first"
            return
        ranks = [rank for rank in draft.ranks if rank is not None] if draft.kind == "rank" else None
        best = draft.groups[0][0] if draft.kind == "best-only" else None
        await self._decide(task, draft.kind, ranks, best)

    async def skip(self) -> None:
        """Decide nothing about it, and go on."""
        if self.task is not None:
            await self._decide(self.task, "skip")

    async def flag(self) -> None:
        """Mark it as one for others to look at, or take the mark away."""
        if (task := self.task) is not None:
            on = not self.flagged
            self.task = await self._with(lambda annotator: annotator.flag(task, on=on))
            self._remarks.flag(task.turn, on)
            self.said = "" if on else "no longer flagged"
            await self._stand()

    async def note(self, text: str) -> None:
        """Write something about it."""
        if (task := self.task) is not None and text:
            self.task = await self._with(lambda annotator: annotator.note(task, text))
            self._remarks.note(task.turn, text)
            self.said = "noted"

    async def undo(self) -> None:
        """Forget the last key; where there is none, undo the last thing that was done."""
        if self.task is not None and (keys := self._typed.of(self.task).keys):
            await self._retype(self.task, keys[:-1])
            self._undone_keys += keys[-1]
            return

        def work(annotator: Annotator) -> tuple[Action | None, Task | None, Standing]:
            action = annotator.undo()
            task = annotator.task((action.item, action.occasion)) if action and action.item else None
            return action, task, standing_of(annotator)

        action, task, standing = await self._with(work)
        if action is None:
            self.said = "there is nothing to undo"
            return
        self.standing = standing
        if task is not None:
            self._show(task)
            if action.kind in DECISIONS:
                self._typed.put(undone(task, action))
                await self._keep(self._typed.of(task))
            else:
                self._remarks.reversed(task.turn, action, again=False)
        self.said = f"undone: {DONE_WORDS[action.kind]}"

    async def redo(self) -> None:
        """Take the last undo back."""
        if self.task is not None and self._undone_keys:
            key, rest = self._undone_keys[-1], self._undone_keys[:-1]
            await self._retype(self.task, self._typed.of(self.task).keys + key)
            self._undone_keys = rest
            return
        action = await self._with(lambda annotator: annotator.redo())
        if action is None:
            self.said = "there is nothing to redo"
        elif action.item is not None:
            turn = (action.item, action.occasion)
            if action.kind in DECISIONS:
                self._typed.drop(turn)
                await self.forward()
            else:
                self._remarks.reversed(turn, action, again=True)
                self._show(await self._with(lambda annotator: annotator.task(turn)))
            self.said = f"done again: {DONE_WORDS[action.kind]}"

    async def back(self) -> None:
        """Look at what was decided before."""
        task = await self._with(lambda annotator: annotator.back(self.task))
        if task is None:
            self.said = "there is nothing before"
        else:
            self._show(task)
            self.said = "decided before; other keys decide anew, ] goes on"

    async def forward(self) -> None:
        """Go on with what is to be decided next."""
        # More of them may come in while the desk is at it.
        scores = self.scores.by_item()

        def work(annotator: Annotator) -> tuple[Task | None, Standing]:
            return annotator.next(by_uncertainty(scores)), standing_of(annotator)

        task, standing = await self._with(work)
        self.standing = standing
        self._show(task)

    async def poll(self) -> None:
        """See whether answers came in."""
        if self.task is None:
            await self.forward()
        else:
            await self._stand()

    async def generate(self) -> None:
        """Have missing answers made, those too that failed before."""
        self.standing = await self._with(lambda annotator: standing_of(annotator, again=True))

    # How.

    async def _with(self, work: Callable[[Annotator], R]) -> R:
        """Have work done at the desk, with the annotator as of its present connection."""

        def run(database: Database) -> R:
            annotator = self._annotator
            if annotator is None or annotator.database is not database:
                session = find_session(database, self.session_name)
                if self.session is not None and session.id != self.session.id:
                    raise UsageError(f"“{self.session_name}” was deleted, and another made under its name")
                annotator = self._annotator = Annotator(database, session, self.name)
            return work(annotator)

        self.said = ""
        return await self._desk.do(run)

    async def _decide(
        self, task: Task, kind: str, ranks: list[int] | None = None, best: int | None = None
    ) -> None:
        took = round(1000 * self._seconds(task))
        done = await self._with(
            lambda annotator: annotator.commit(task, kind, ranks=ranks, best=best, milliseconds=took)
        )
        # It is on disk. If reading what comes next fails, this is still what is shown: decided.
        self.task = done
        self._typed.drop(task.turn)
        self._undone_keys = ""
        await self.forward()

    async def _stand(self) -> None:
        said = self.said
        self.standing = await self._with(standing_of)
        self.said = said

    def _show(self, task: Task | None) -> None:
        self.task = task
        self._undone_keys = ""
        self._since = time.monotonic()

    def _seconds(self, task: Task) -> float:
        return self._typed.of(task).seconds + time.monotonic() - self._since

    async def _retype(self, task: Task, keys: str) -> None:
        """These keys instead of the present ones, kept before they are shown."""
        typed = replace(self._typed.of(task), keys=keys, seconds=self._seconds(task))
        await self._keep(typed)
        self._typed.put(typed)
        self._since = time.monotonic()
        self.said = ""

    async def _keep(self, typed: Typed) -> None:
        kept = self._typed.with_last(typed)

        def work(annotator: Annotator) -> WorkbenchError | None:
            try:
                keep_typed(annotator.session, annotator.name, kept)
            except WorkbenchError as error:
                # Typing goes on: it can be committed as long as the screen stands.
                return error
            return None

        self.unkept = await self._with(work)


def _no_use(key: str, draft: Draft) -> str:
    """Why a key does nothing."""
    if key.isdecimal() and int(key) > draft.count:
        return f"there are {draft.count} answers"
    if key == "b":
        return "the number of the best answer first, then b"
    return ""
