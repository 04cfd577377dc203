"""What an ingest writes: documents staged as they are read, then all made live in one commit."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.prompting.retrieval import database
from workbench.prompting.retrieval.record import Record, indexed_text
from workbench.prompting.retrieval.sources import SourceFile
from workbench.prompting.retrieval.vectors import text_key

KEPT = "(documents.live = 0 OR (documents.live = 1 AND documents.path IN (SELECT value FROM json_each(?))))"
"""The documents of the generation to come: what is staged, and the live ones at the paths that are given."""


@dataclass(frozen=True)
class Stored:
    """The digests of what is kept of a path, empty where there is nothing."""

    live: str = ""
    staged: str = ""


@dataclass(frozen=True)
class StoredChunk:
    """A passage by its id, and the key of its text."""

    id: int
    key: str


def stored_documents(path: Path) -> dict[str, Stored]:
    """What is kept, by path of the document."""
    digests: dict[str, dict[str, str]] = {}
    with database.snapshot(path) as connection:
        for row in connection.execute("SELECT path, digest, live FROM documents"):
            digests.setdefault(row["path"], {})["live" if row["live"] else "staged"] = row["digest"]
    return {document: Stored(**found) for document, found in digests.items()}


def stage(path: Path, read: Sequence[tuple[SourceFile, str, Mapping[str, Any]]]) -> None:
    """Keep files as (file, digest, what the reader made of it), in place of what is staged of them."""
    with database.transaction(path) as connection:
        unstage_in(connection, [str(file.path) for file, _, _ in read])
        for file, digest, document in read:
            notes = json.dumps(document["notes"])
            cursor = connection.execute(
                "INSERT INTO documents (path, name, title, digest, unit, notes, text, live) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    str(file.path),
                    file.name,
                    document["title"],
                    digest,
                    document["unit"],
                    notes,
                    document["text"],
                ),
            )
            connection.executemany(
                "INSERT INTO chunks (document, start_offset, end_offset, first, last, headings, text, key) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (_chunk_row(cursor.lastrowid, document["title"], chunk) for chunk in document["chunks"]),
            )


def _chunk_row(document: int | None, title: str, chunk: Mapping[str, Any]) -> tuple[Any, ...]:
    key = text_key(indexed_text(title, chunk["headings"], chunk["text"]))
    headings = json.dumps(chunk["headings"])
    return (
        *(document, chunk["start"], chunk["end"], chunk["first"], chunk["last"]),
        *(headings, chunk["text"], key),
    )


def unstage(path: Path, documents: Collection[str]) -> None:
    """Forget what is staged of these paths."""
    with database.transaction(path) as connection:
        unstage_in(connection, documents)


def unstage_in(connection: sqlite3.Connection, documents: Iterable[str]) -> None:
    """The same, as part of a transaction."""
    connection.executemany(
        "DELETE FROM documents WHERE path = ? AND live = 0", ((document,) for document in documents)
    )


def kept_chunks(path: Path, unchanged: Collection[str]) -> list[StoredChunk]:
    """The passages of the generation to come, in order of documents: its rows."""
    query = (
        "SELECT chunks.id, chunks.key FROM chunks JOIN documents ON documents.id = chunks.document "
        f"WHERE {KEPT} ORDER BY documents.path, chunks.start_offset"
    )
    with database.snapshot(path) as connection:
        return [StoredChunk(*row) for row in connection.execute(query, (json.dumps(list(unchanged)),))]


def texts_of(path: Path, ids: Sequence[int]) -> list[str]:
    """What is searched of passages, in the order of their ids given."""
    return list(read_texts(path, ids))


def read_texts(path: Path, ids: Sequence[int]) -> Iterator[str]:
    """The same, one at a time."""
    query = (
        "SELECT documents.title, chunks.headings, chunks.text "
        "FROM chunks JOIN documents ON documents.id = chunks.document WHERE chunks.id = ?"
    )
    with database.snapshot(path) as connection:
        for chunk in ids:
            title, headings, text = connection.execute(query, (chunk,)).fetchone()
            yield indexed_text(title, json.loads(headings), text)


def commit(path: Path, record: Record, seen: Sequence[SourceFile], unchanged: Collection[str]) -> None:
    """Make the generation to come the live one, and `record` its record."""
    with database.transaction(path) as connection:
        kept = json.dumps(list(unchanged))
        connection.execute(
            "DELETE FROM documents WHERE live = 1 AND path NOT IN (SELECT value FROM json_each(?))", (kept,)
        )
        connection.execute("UPDATE documents SET live = 1 WHERE live = 0")
        # A folder that was named differently this time gives its files other names below it.
        connection.executemany(
            "UPDATE documents SET name = ? WHERE path = ? AND name <> ?",
            ((file.name, str(file.path), file.name) for file in seen),
        )
        record.write(connection)
