"""Reading a file of preferences, of whichever kind, into a session."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

from workbench.errors import DataError
from workbench.store.preferences.database import Database
from workbench.store.preferences.exchange.arena import read_battle
from workbench.store.preferences.exchange.argilla import read_argilla
from workbench.store.preferences.exchange.completions import as_incoming, read_sets
from workbench.store.preferences.exchange.incoming import Imported, Incoming, put_all
from workbench.store.preferences.exchange.pairs import read_pair
from workbench.store.preferences.exchange.rankings import read_ranking
from workbench.store.preferences.exchange.records import Record, read_records
from workbench.store.preferences.sessions import Session, Settings, create_session, list_sessions

Format = Literal["rankings", "pairs", "argilla", "arena", "completions"]
COLUMNS: dict[Format, tuple[str, ...]] = {
    "rankings": ("prompt", "completions"),
    "arena": ("conversation_a", "conversation_b", "winner"),
    "argilla": ("fields",),
    "pairs": ("chosen", "rejected"),
    "completions": ("prompt", "completion"),
}


def detect_format(record: Record, where: str = "") -> Format:
    """What a record is, by its columns. Raises `DataError` listing what each needs."""
    for name, columns in COLUMNS.items():
        if all(column in record for column in columns):
            return name
    kinds = "; ".join(f"{name} ({', '.join(columns)})" for name, columns in COLUMNS.items())
    raise DataError(
        f"the columns {', '.join(map(str, record)) or '(none)'} are those of no file of preferences",
        where=where,
        hint=f"known are {kinds}",
    )


def read_file(path: Path, format: Format | None = None, *, question: str | None = None) -> list[Incoming]:
    """Everything a file says, checked. Raises `DataError` naming file and line."""
    records = read_records(path)
    first = next(records, None)
    if first is None:
        raise DataError("the file holds no records", where=str(path))
    format = format or detect_format(*first)
    every = chain([first], records)
    if format == "completions":
        return as_incoming(read_sets(every))
    readers: dict[Format, Callable[[Record, str], Iterable[Incoming]]] = {
        "rankings": read_ranking,
        "pairs": read_pair,
        "argilla": partial(read_argilla, question=question),
        "arena": read_battle,
    }
    found: list[Incoming] = []
    for record, where in every:
        try:
            found.extend(readers[format](record, where))
        except (TypeError, ValueError, AttributeError) as error:
            # A value of a kind that no reader looks at on its own.
            raise DataError(f"the record is not one of {format}: {error}", where=where) from None
    return found


def import_file(
    database: Database,
    path: Path,
    *,
    session: str | None = None,
    format: Format | None = None,
    question: str | None = None,
) -> Imported:
    """Read a file into the session of a name, by default that of the file; it is made if it is not there.

    The same file twice adds nothing. A bad line raises `DataError`, and nothing of the file is added.
    Raises `StorageError`.
    """
    incoming = read_file(path, format, question=question)
    name = session or session_name(path)
    with database.transaction():
        return put_all(database, _session(database, name, path), incoming)


def session_name(path: Path) -> str:
    """The name of the session that a file is read into."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.split(".")[0]).strip("-._")
    return stem[:200] or "imported"


def _session(database: Database, name: str, path: Path) -> Session:
    for session in list_sessions(database):
        if session.name == name:
            return session
    return create_session(database, name, Settings(extra={"imported_from": path.name}))
