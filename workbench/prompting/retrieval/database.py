"""The one SQLite file of a collection: its record, its documents and passages, and its vectors.

What an ingest reads is kept with `live` 0 until the commit that ends it, so that searches see either all of
it or nothing, and an ingest that was interrupted goes on with what it has read already.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from workbench.errors import DataError, StorageError

PATIENCE_SECONDS = 30.0
"""How long a reader waits for a commit, and a commit for the readers before it; both take milliseconds."""

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS record (content TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL, name TEXT NOT NULL, title TEXT NOT NULL,
    digest TEXT NOT NULL, unit TEXT NOT NULL, notes TEXT NOT NULL, text TEXT NOT NULL,
    live INTEGER NOT NULL,
    UNIQUE (path, live)
)""",
    """CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    start_offset INTEGER NOT NULL, end_offset INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL,
    headings TEXT NOT NULL, text TEXT NOT NULL, key TEXT NOT NULL
)""",
    "CREATE INDEX IF NOT EXISTS chunks_of_document ON chunks (document)",
    "CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB NOT NULL)",
)


@contextmanager
def transaction(path: Path, *, create: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection whose changes are kept together at the end, or not at all on an error.

    `create` makes the file and its tables where there are none. Raises `StorageError` when the disk
    refuses, `DataError` when the file is damaged.
    """
    with _connection(path, create=create) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA if create else ():
                connection.execute(statement)
            yield connection


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads one state of the file, whatever others write meanwhile."""
    with _connection(path) as connection:
        connection.execute("BEGIN")
        yield connection


@contextmanager
def _connection(path: Path, *, create: bool = False) -> Iterator[sqlite3.Connection]:
    # Readers open it for writing too: only so can they undo a commit that a killed process left half done.
    mode = "rwc" if create else "rw"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=PATIENCE_SECONDS,
            isolation_level=None,
        )
        with closing(connection):
            connection.row_factory = sqlite3.Row
            yield connection
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"the collection cannot be used: {error}",
            where=str(path),
            hint="is the disk full, or not yours to write?",
        ) from None
    except sqlite3.DatabaseError as error:
        raise DataError(
            f"the collection is damaged: {error}", where=str(path), hint="remove it and ingest again"
        ) from None
