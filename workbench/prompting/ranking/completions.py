"""A session from a file of completions that nobody has ranked yet. No torch."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import DataError
from workbench.prompting.rows import SUFFIXES, read_rows
from workbench.store.preferences.database import Database
from workbench.store.preferences.exchange.completions import HINT, AnswerSet, read_sets
from workbench.store.preferences.exchange.records import read_records
from workbench.store.preferences.sessions import Session, Settings, add_item, create_session


def read_completions(path: Path, limit: int | None = None) -> list[AnswerSet]:
    """The prompts of a file with their answers, in its order, at most `limit` of them; its records are those
    of `read_sets`. Raises `DataError` naming file and line."""
    rows = read_rows(path) if path.suffix in SUFFIXES else read_records(path)
    found = read_sets(rows, limit)
    if not found:
        raise DataError("the file holds no completions", where=str(path), hint=HINT)
    return found


def create_from_completions(
    database: Database,
    name: str,
    path: Path,
    *,
    limit: int | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
) -> tuple[Session, int]:
    """A session of the answers in a file, and how many items it has: all of them, or nothing is made.

    Raises `DataError`, `UsageError`, `StorageError`.
    """
    sets = read_completions(path, limit)
    with database.transaction():
        session = create_session(database, name, settings, seed=seed)
        for one in sets:
            add_item(database, session, one.prompt, one.answers)
    return session, len(sets)
