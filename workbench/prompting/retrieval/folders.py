"""The folders of collections: found by name, listed, locked, removed."""

from __future__ import annotations

import difflib
import fcntl
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench import paths
from workbench.errors import DataError, PromptError, ServerError, WorkbenchError, storage_error
from workbench.prompting.retrieval import database
from workbench.prompting.retrieval.record import Record
from workbench.prompting.retrieval.vectors import LocalVectors, VectorStore

DATABASE = "collection.sqlite"
LOCKS = ".locks"
NAME = re.compile(r"[\w][\w.-]{0,99}")


def collections_dir() -> Path:
    """The folder that holds one folder a collection."""
    return paths.home() / "collections"


def folder_of(name: str) -> Path:
    """Where a collection of this name is or would be. Raises `PromptError` for what cannot be a name."""
    if not NAME.fullmatch(name):
        raise PromptError(
            f"“{name}” cannot be the name of a collection",
            hint="letters, digits, hyphens, underscores and dots, starting with a letter or digit",
        )
    return collections_dir() / name


def collection_names() -> list[str]:
    """The names of all collections, also of those whose first ingest never ended."""
    try:
        return sorted(path.parent.name for path in collections_dir().glob(f"[!.]*/{DATABASE}"))
    except OSError as error:
        raise storage_error(error, collections_dir()) from None


def describe(name: str) -> Record:
    """What a collection remembers about itself. Raises `DataError` if there is none of this name."""
    path = folder_of(name) / DATABASE
    if not path.exists():
        raise missing(name)
    with database.snapshot(path) as connection:
        record = Record.read(connection, path)
    if record is None:
        raise unfinished(name)
    return record


def missing(name: str) -> DataError:
    """The error for a collection that is not there."""
    near = difflib.get_close_matches(name, collection_names(), n=1)
    return DataError(
        f"there is no collection called “{name}”",
        where=str(collections_dir()),
        hint=f"did you mean {near[0]}?" if near else "ingest a folder first",
    )


def unfinished(name: str) -> DataError:
    """The error for a collection that cannot be searched yet."""
    return DataError(
        f"the first ingest of “{name}” never ended",
        where=str(folder_of(name)),
        hint="ingest it again; it goes on with what was read",
    )


def list_collections() -> dict[str, Record | WorkbenchError]:
    """All collections by name; in place of a record that cannot be read, the reason."""
    listed: dict[str, Record | WorkbenchError] = {}
    for name in collection_names():
        try:
            listed[name] = describe(name)
        except WorkbenchError as error:
            listed[name] = error
    return listed


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a collection for changes. Raises `DataError` when another process holds it.

    The lock ends with the process, however it ends. Its file stays: were it removed while another process
    opens it, two of them could get in.
    """
    path = paths.ensure_dir(collections_dir() / LOCKS) / name
    try:
        file = path.open("ab")
    except OSError as error:
        raise storage_error(error, path) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(
                f"the collection “{name}” is being changed by another process",
                where=str(folder_of(name)),
                hint="wait until it is done; searching goes on meanwhile",
            ) from None
        yield


def remove_collection(name: str) -> None:
    """Remove a collection, and its vectors from the server that holds them. Raises `DataError`."""
    folder = folder_of(name)
    if not folder.exists():
        raise missing(name)
    with locked(name):
        try:
            record = describe(name)
        except DataError:
            # It is damaged, so that nothing is known of a server; what is here can still go.
            record = None
        if record is None or not record.options.qdrant_url:
            delete_folder(folder)
            return
        store = vector_store(name, record)
        try:
            store.drop()
        except ServerError as error:
            raise ServerError(
                f"“{name}” is removed here, but its vectors stay on the server: {error.message}",
                where=error.where,
                hint=f"delete its collection {server_name(record)} there",
            ) from None
        finally:
            store.close()
            delete_folder(folder)


def server_name(record: Record) -> str:
    """What a collection is called on a Qdrant server, where others may have one of its name."""
    return f"workbench-{record.identity}"


def delete_folder(folder: Path) -> None:
    """Remove a folder so that nobody ever sees half of it under its name."""
    hidden = folder.with_name(f".{uuid.uuid4().hex}.removed")
    try:
        folder.rename(hidden)
        shutil.rmtree(hidden)
    except OSError as error:
        raise storage_error(error, folder) from None


def vector_store(name: str, record: Record) -> VectorStore:
    """Where the vectors of a collection are: in its file, or on its Qdrant server."""
    if not record.options.qdrant_url:
        return LocalVectors(folder_of(name) / DATABASE)
    from workbench.prompting.retrieval.qdrant import QdrantVectors

    return QdrantVectors(record.options.qdrant_url, server_name(record))
