"""What a collection remembers about itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from workbench.errors import DataError
from workbench.prompting.retrieval.chunking import Chunking
from workbench.prompting.retrieval.sources import Skipped

FORMAT = 1


@dataclass(frozen=True)
class Options:
    """How a collection is made; it keeps them, and another ingest of it uses them again.

    `exclude` holds shell patterns of names or paths to leave out. The prefixes are what some embedding models
    want before a passage and before a query (E5: `passage: ` and `query: `). `qdrant_url` puts the vectors
    on a Qdrant server; its key is read from QDRANT_API_KEY and never kept.
    """

    chunking: Chunking = Chunking()
    exclude: tuple[str, ...] = ()
    maximum_bytes: int = 32 << 20
    passage_prefix: str = ""
    query_prefix: str = ""
    qdrant_url: str = ""


@dataclass
class Record:
    """A collection as it stands. `generation` counts its word indexes; 0 means that no ingest has ended yet.

    `identity` tells it from all collections that ever had its name. Times are seconds since the epoch.
    """

    identity: str
    sources: tuple[str, ...]
    options: Options = Options()
    embedder: str = ""
    dimension: int = 0
    generation: int = 0
    documents: int = 0
    chunks: int = 0
    skipped: tuple[Skipped, ...] = ()
    created: float = 0.0
    updated: float = 0.0
    format: int = field(default=FORMAT)

    def write(self, connection: sqlite3.Connection) -> None:
        """Replace what is kept."""
        connection.execute("DELETE FROM record")
        connection.execute("INSERT INTO record VALUES (?)", (orjson.dumps(asdict(self)).decode(),))

    @classmethod
    def read(cls, connection: sqlite3.Connection, path: Path) -> Record | None:
        """The record of an open collection, None before the first is written."""
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'record'")
        row = tables.fetchone() and connection.execute("SELECT content FROM record").fetchone()
        if row is None:
            return None
        try:
            return cls._of(orjson.loads(row[0]))
        except (KeyError, TypeError, ValueError):
            raise DataError(
                "the collection is damaged, or was made by another version of the workbench",
                where=str(path),
                hint="remove it and ingest again",
            ) from None

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Record:
        if content["format"] != FORMAT:
            raise ValueError
        options = content["options"]
        options["chunking"] = Chunking(**options["chunking"])
        options["exclude"] = tuple(options["exclude"])
        content["options"] = Options(**options)
        content["skipped"] = tuple(Skipped(**entry) for entry in content["skipped"])
        content["sources"] = tuple(content["sources"])
        return cls(**content)


def indexed_text(title: str, headings: Sequence[str], text: str) -> str:
    """What is searched of a passage: its text, after the title and headings that tell what it is about."""
    above = headings if title in headings[:1] else (title, *headings)
    return f"{' › '.join(above)}\n{text}"
