"""Which state of a collection is searched, as a short hash."""

from __future__ import annotations

import hashlib
import json

from workbench.prompting.retrieval import database, folders
from workbench.prompting.retrieval.record import Record


def fingerprint(name: str) -> str:
    """16 hexadecimal digits that are others once a search of the collection may find something else: its
    documents and their names, how they are cut, what embeds them. Not when the same is ingested again.

    Raises `DataError` if there is no such collection or its first ingest never ended, `PromptError` for
    what is no name.
    """
    path = folders.folder_of(name) / folders.DATABASE
    if not path.exists():
        raise folders.missing(name)
    with database.snapshot(path) as connection:
        record = Record.read(connection, path)
        if record is None or record.generation == 0:
            raise folders.unfinished(name)
        # A document's digest is of its content and of how it is read and cut.
        query = "SELECT name, digest FROM documents WHERE live = 1 ORDER BY name, digest"
        documents = [tuple(row) for row in connection.execute(query)]
    options = record.options
    made = [record.embedder, record.dimension, options.passage_prefix, options.query_prefix]
    return hashlib.sha256(json.dumps([made, documents]).encode()).hexdigest()[:16]
