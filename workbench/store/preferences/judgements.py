"""What people said, as statistics and exports want it: every judgement that holds, and what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.store.preferences.contents import Answer, Item, Prompt, read_answers, read_items, read_prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.log import DECISIONS, JUDGEMENTS, Action, holding, read_actions
from workbench.store.preferences.sessions import Session

UNKNOWN = "unknown"
"""The annotator of what was imported from a file that names none: it may be any number of people."""


@dataclass(frozen=True)
class Judgement:
    """One ranking of the answers to one item, in the order in which they were shown.

    `answers` are their numbers, `models` where they come from, `ranks` dense with 1 the best. `occasion` is
    0 the first time, above where the item came again. A file may not say how they stood: then the order is
    the file's, and `sides_known` false.
    """

    item: int
    annotator: str
    answers: tuple[int, ...]
    models: tuple[str, ...]
    ranks: tuple[int, ...]
    occasion: int = 0
    kind: str = "rank"
    milliseconds: int | None = None
    time: float | None = None
    sides_known: bool = True

    @property
    def rank_of(self) -> dict[int, int]:
        """The rank of each answer by its number."""
        return dict(zip(self.answers, self.ranks, strict=True))


@dataclass(frozen=True)
class Decided:
    """A decision with all that is known about it; `action` is None for an item that nobody decided."""

    item: Item
    prompt: Prompt
    answers: Mapping[int, Answer]
    action: Action | None
    notes: tuple[Action, ...] = ()
    flags: tuple[Action, ...] = field(default=())


def judgements(database: Database, session: Session) -> list[Judgement]:
    """Every judgement of a session that holds, as they were made. Raises `StorageError`."""
    with database.snapshot():
        models: dict[int, str] = dict(
            database.rows(
                "SELECT answers.id, model FROM answers JOIN prompts ON prompts.id = answers.prompt "
                "WHERE prompts.session = ?",
                (session.id,),
            )
        )
        actions = read_actions(database, session.id)
    last: dict[tuple[str, int, int], Action] = {}
    for action in holding(actions):
        if action.kind in DECISIONS and action.item is not None:
            key = (action.annotator, action.item, action.occasion)
            last.pop(key, None)
            last[key] = action
    return [
        Judgement(
            item,
            annotator,
            action.shown,
            tuple(models[answer] for answer in action.shown),
            action.ranks,
            occasion,
            action.kind,
            action.milliseconds,
            action.time,
            action.sides_known,
        )
        for (annotator, item, occasion), action in last.items()
        if action.kind in JUDGEMENTS
    ]


def decided(database: Database, session: Session, *, undecided: bool = False) -> list[Decided]:
    """Every decision of a session that holds, item by item, with what was noted; with `undecided` also what
    nobody decided, or only skipped. Raises `StorageError`.

    Notes and flags are with the decision of the same annotator on the same item, once.
    """
    with database.snapshot():
        actions = holding(read_actions(database, session.id))
        of_item: dict[int, list[Action]] = {}
        for action in actions:
            if action.item is not None:
                of_item.setdefault(action.item, []).append(action)
        found: list[Decided] = []
        for item in read_items(database, session.id):
            about = of_item.get(item.id, [])
            prompt, answers = read_prompt(database, item.prompt), read_answers(database, item.answers)
            records = [
                Decided(item, prompt, answers, action, notes, flags)
                for action, notes, flags in _with_remarks(about)
                if undecided or action.kind in JUDGEMENTS
            ]
            found += records if records or not undecided else [Decided(item, prompt, answers, None)]
    return found


def _with_remarks(about: list[Action]) -> list[tuple[Action, tuple[Action, ...], tuple[Action, ...]]]:
    """The decisions on an item, and, of those who only remarked on it, their last remark in their place."""
    last: dict[tuple[str, int], Action] = {}
    for action in about:
        if action.kind in DECISIONS:
            last[(action.annotator, action.occasion)] = action
    for action in about:
        if not any(annotator == action.annotator for annotator, _ in last):
            last[(action.annotator, action.occasion)] = action
    told: set[str] = set()
    found: list[tuple[Action, tuple[Action, ...], tuple[Action, ...]]] = []
    for (annotator, _), action in sorted(last.items(), key=lambda entry: entry[0][1]):
        mine = [a for a in about if a.annotator == annotator] if annotator not in told else []
        told.add(annotator)
        notes = tuple(a for a in mine if a.kind == "note")
        found.append((action, notes, tuple(a for a in mine if a.kind == "flag")))
    return found
