"""The log of actions: only ever appended to; what holds is what was not undone.

An undo is a record too: it names the action it undoes, and a redo names the undo it undoes.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from workbench.store.preferences.contents import encoded
from workbench.store.preferences.database import Database

Kind = Literal["rank", "tie", "best-only", "all-bad", "skip", "flag", "note", "undo", "redo"]
KINDS: tuple[str, ...] = get_args(Kind)
JUDGEMENTS = frozenset({"rank", "tie", "best-only", "all-bad"})
"""Kinds that say how answers compare: their value holds `ranks`, one for each answer as shown."""
SIDES_UNKNOWN = "sides_unknown"
"""In the value of what came from a file that does not say how the answers stood."""
DECISIONS = JUDGEMENTS | {"skip"}
"""Kinds after which an item is done."""
REVERSALS = frozenset({"undo", "redo"})


@dataclass(frozen=True)
class Action:
    """One thing an annotator did: `shown` are the answers as they stood, left to right; `milliseconds` is
    how long it took; `time` is in seconds since 1970; `mark` is its own wherever it is copied to."""

    id: int
    annotator: str
    item: int | None
    occasion: int
    kind: str
    value: Mapping[str, Any]
    shown: tuple[int, ...]
    milliseconds: int | None
    time: float | None
    target: int | None
    mark: str

    @property
    def sides_known(self) -> bool:
        """Whether `shown` is how they stood, and not just the order of a file."""
        return not self.value.get(SIDES_UNKNOWN)

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks of the answers as shown, dense, 1 the best."""
        return tuple(self.value.get("ranks", ()))


def new_mark() -> str:
    """A mark for a new action."""
    return secrets.token_hex(12)


def append(
    database: Database,
    session: int,
    annotator: str,
    kind: str,
    *,
    item: int | None = None,
    occasion: int = 0,
    value: Mapping[str, Any] | None = None,
    shown: Sequence[int] = (),
    milliseconds: int | None = None,
    moment: float | None = None,
    target: int | None = None,
    mark: str | None = None,
) -> int:
    """Add an action within a transaction and return its number."""
    if kind not in KINDS:
        raise AssertionError(f"no kind of action: {kind}")
    return database.insert(
        "INSERT INTO actions (session, mark, annotator, item, occasion, kind, value, shown, milliseconds, "
        "time, target) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            session,
            mark or new_mark(),
            annotator,
            item,
            occasion,
            kind,
            encoded(dict(value or {})),
            encoded(list(shown)) if shown else None,
            milliseconds,
            time.time() if moment is None and mark is None else moment,
            target,
        ),
    )


def read_actions(
    database: Database, session: int, annotator: str | None = None, after: int = 0
) -> list[Action]:
    """The actions of a session behind a number, of one annotator or of all, as they were done."""
    whose = "" if annotator is None else " AND annotator = ?"
    values = (session, after) if annotator is None else (session, after, annotator)
    return [
        Action(
            row[0],
            row[1],
            row[2],
            row[3],
            row[4],
            json.loads(row[5]),
            tuple(json.loads(row[6])) if row[6] else (),
            row[7],
            row[8],
            row[9],
            row[10],
        )
        for row in database.rows(
            "SELECT id, annotator, item, occasion, kind, value, shown, milliseconds, time, target, mark "
            f"FROM actions WHERE session = ? AND id > ?{whose} ORDER BY id",
            values,
        )
    ]


@dataclass
class Effect:
    """What a log amounts to: the actions that hold, and what could be undone or redone next."""

    holding: list[Action] = field(default_factory=list)
    undoable: Action | None = None
    redoable: Action | None = None


def effect(actions: Iterable[Action]) -> Effect:
    """What actions of one annotator, as they were done, amount to.

    The last action that holds can be undone; the last undo that holds can be redone, as long as nothing new
    was done since.
    """
    log = list(actions)
    reversed_: set[int] = set()
    # What reverses an action stands behind it, so from the end on all is known when it is needed.
    for action in reversed(log):
        if action.kind in REVERSALS and action.id not in reversed_ and action.target is not None:
            reversed_.add(action.target)
    found = Effect([a for a in log if a.kind not in REVERSALS and a.id not in reversed_])
    found.undoable = found.holding[-1] if found.holding else None
    newest = max((a.id for a in log if a.kind not in REVERSALS), default=0)
    undos = [a for a in log if a.kind == "undo" and a.id not in reversed_ and a.id > newest]
    found.redoable = undos[-1] if undos else None
    return found


def holding(actions: Sequence[Action]) -> list[Action]:
    """The actions that hold, of any number of annotators, as they were done."""
    # A reversal only ever names an action of the same annotator, so all can be looked at together.
    return effect(actions).holding
