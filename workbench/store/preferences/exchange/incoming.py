"""Putting what a file says into a session: everything once, all of the file or nothing of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.store.preferences.contents import Answer, Prompt, encoded, put_item, put_prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.judgements import UNKNOWN
from workbench.store.preferences.log import DECISIONS, SIDES_UNKNOWN, append
from workbench.store.preferences.sessions import Session, match_answers


@dataclass(frozen=True)
class Remark:
    """A note or a flag."""

    kind: str
    value: Mapping[str, Any]
    time: float | None = None


@dataclass(frozen=True)
class Incoming:
    """One record of a file, or several `records` that belong together. `ranks` are of `answers` in their
    order, and `shown` are their numbers as they stood, empty where that is not known; `kind` is None where
    nothing was decided. `mark` tells it from all others; `extra` is what the file says besides, and comes
    out again."""

    prompt: Prompt
    answers: tuple[Answer, ...]
    mark: str
    kind: str | None = None
    ranks: tuple[int, ...] = ()
    shown: tuple[int, ...] = ()
    annotator: str = UNKNOWN
    occasion: int = 0
    milliseconds: int | None = None
    time: float | None = None
    remarks: tuple[Remark, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    records: int = 1


@dataclass(frozen=True)
class Imported:
    """What an import did: how many `records` the file has, how many decisions and items were `added`."""

    session: Session
    records: int
    decisions: int
    items: int


def put_all(database: Database, session: Session, incoming: Sequence[Incoming]) -> Imported:
    """Add records to a session; what is there already is left as it is. Raises `StorageError`."""
    decisions = 0
    count = "SELECT count(*) FROM items WHERE session = ?"
    with database.transaction():
        (before,) = database.row(count, (session.id,)) or (0,)
        for record in incoming:
            decisions += _put(database, session, record)
        (after,) = database.row(count, (session.id,)) or (0,)
    return Imported(session, sum(record.records for record in incoming), decisions, after - before)


def _put(database: Database, session: Session, record: Incoming) -> bool:
    """Whether a decision was added."""
    prompt = put_prompt(database, session.id, record.prompt)
    answers = match_answers(database, prompt, record.answers)
    item = put_item(database, session.id, prompt, answers)
    shown = [answers[number] for number in record.shown or range(len(answers))]
    if any(_is_there(database, session, mark) for mark in (record.mark, f"{record.mark}/0")):
        return False
    for number, remark in enumerate(record.remarks):
        append(
            database,
            session.id,
            record.annotator,
            remark.kind,
            item=item,
            occasion=record.occasion,
            value=remark.value,
            shown=shown,
            moment=remark.time,
            mark=f"{record.mark}/{number}",
        )
    if record.kind is None:
        return False
    value: dict[str, Any] = {"extra": dict(record.extra)} if record.extra else {}
    if not record.shown:
        value[SIDES_UNKNOWN] = True
    if record.ranks:
        value["ranks"] = [record.ranks[answers.index(answer)] for answer in shown]
    append(
        database,
        session.id,
        record.annotator,
        record.kind,
        item=item,
        occasion=_free_occasion(database, record, item),
        value=value,
        shown=shown,
        milliseconds=record.milliseconds,
        moment=record.time,
        mark=record.mark,
    )
    return True


def _is_there(database: Database, session: Session, mark: str) -> bool:
    return (
        database.row("SELECT id FROM actions WHERE session = ? AND mark = ?", (session.id, mark)) is not None
    )


def _free_occasion(database: Database, record: Incoming, item: int) -> int:
    """The record's occasion, or the next where the annotator judged this item then already."""
    kinds = ",".join(f"'{kind}'" for kind in sorted(DECISIONS))
    taken = {
        row[0]
        for row in database.rows(
            f"SELECT occasion FROM actions WHERE item = ? AND annotator = ? AND kind IN ({kinds})",
            (item, record.annotator),
        )
    }
    occasion = record.occasion
    while occasion in taken:
        occasion += 1
    return occasion


def same_everywhere(ranks: Sequence[int], answers: Sequence[Answer]) -> bool:
    """Whether answers with the same text have the same rank."""
    rank_of: dict[str, int] = {}
    return all(
        rank_of.setdefault(encoded(answer.content), rank) == rank
        for rank, answer in zip(ranks, answers, strict=True)
    )
