"""Making a collection out of files, or bringing it up to date.

Files that did not change are neither read nor embedded again. Until the last step searches see the
collection as it was; an ingest that is cancelled or killed leaves it so, and the next one goes on with what
was read and embedded already.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.errors import DataError, PromptError, WorkbenchError
from workbench.inference.generation import Embedder
from workbench.prompting.retrieval import database, folders, staging
from workbench.prompting.retrieval.blocking import to_the_end
from workbench.prompting.retrieval.embedding import embed_missing
from workbench.prompting.retrieval.extraction.formats import VERSION
from workbench.prompting.retrieval.index import lexical_folder, remove_other_generations, write_lexical
from workbench.prompting.retrieval.reading import Reader
from workbench.prompting.retrieval.record import Options, Record
from workbench.prompting.retrieval.report import IngestReport
from workbench.prompting.retrieval.sources import Found, Skipped, SourceFile, find_files
from workbench.prompting.retrieval.vectors import VectorStore

Progress = Callable[[str, int, int], None]
"""Hears what is done now (`reading`, `embedding`, `indexing`), and how much of how much of it."""

STAGED_AT_ONCE = 1 << 20
"""Characters read between two commits of what was read."""


async def ingest(
    sources: Path | Sequence[Path] | None,
    name: str,
    embedder: Embedder | None = None,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Make the collection `name` hold the files in `sources` (folders or files), and no others.

    Sources and options that are None are those of the last time. Without an embedder, words alone will be
    searched. Cancelling the task stops it within one file or one batch. Raises `DataError` when there is
    nothing to read, when another process is at the collection or another embedder made its vectors;
    `ServerError` when embedding fails; `PromptError` for a name that cannot be.
    """
    folder = folders.folder_of(name)
    with folders.locked(name):
        paths.ensure_dir(folder)
        try:
            return await _Ingest(name, folder / folders.DATABASE, embedder, progress).run(sources, options)
        except BaseException:
            _remove_if_empty(folder / folders.DATABASE)
            raise


def _remove_if_empty(path: Path) -> None:
    """Take back a collection whose first ingest ended before it had read anything."""
    with contextlib.suppress(WorkbenchError):
        with database.snapshot(path) as connection:
            record = Record.read(connection, path)
        if record is None or (record.generation == 0 and not staging.stored_documents(path)):
            folders.delete_folder(path.parent)


class _Ingest:
    def __init__(self, name: str, path: Path, embedder: Embedder | None, progress: Progress | None) -> None:
        self.name, self.path, self.embedder = name, path, embedder
        self.progress = progress or (lambda what, done, total: None)
        self.report = IngestReport(name)
        self.seen: list[SourceFile] = []
        self.unchanged: set[str] = set()

    async def run(self, sources: Path | Sequence[Path] | None, options: Options | None) -> IngestReport:
        started = time.monotonic()
        record = await to_the_end(self._begin, sources, options)
        found = await to_the_end(
            find_files,
            [Path(source) for source in record.sources],
            record.options.exclude,
            record.options.maximum_bytes,
        )
        self.report.skipped += found.skipped
        await self._read(found, record)
        chunks = await to_the_end(staging.kept_chunks, self.path, self.unchanged)
        if not chunks:
            raise self._nothing(record)
        keys: list[str] = []
        store = None
        try:
            if self.embedder is not None:
                store = await to_the_end(folders.vector_store, self.name, record)
                keys, self.report.embedded = await embed_missing(
                    self.path, record, chunks, self.embedder, store, partial(self.progress, "embedding")
                )
            self.progress("indexing", 0, len(chunks))
            await to_the_end(self._finish, record, chunks, store, keys)
            self.progress("indexing", len(chunks), len(chunks))
        finally:
            if store is not None:
                store.close()
        self.report.seconds = time.monotonic() - started
        return self.report

    def _begin(self, sources: Path | Sequence[Path] | None, options: Options | None) -> Record:
        """The record to work by. A first one is written at once, so that what stays unfinished is known."""
        with database.transaction(self.path, create=True) as connection:
            record = Record.read(connection, self.path)
            if record is None:
                record = Record(identity=uuid.uuid4().hex, sources=(), created=time.time())
            before = record.options
            if isinstance(sources, Path):
                sources = [sources]
            if sources is not None:
                record.sources = tuple(str(source.expanduser().absolute()) for source in sources)
            record.options = options or before
            if not record.sources:
                raise PromptError("there is nothing to ingest", hint="name a folder or files")
            if record.generation == 0:
                record.write(connection)
            elif record.embedder and before.qdrant_url != record.options.qdrant_url:
                raise DataError(
                    f"the vectors of “{self.name}” are kept {before.qdrant_url or 'in its own file'}",
                    where=str(self.path.parent),
                    hint="remove the collection to keep them elsewhere",
                )
        self._refuse_other_embedder(record)
        return record

    def _refuse_other_embedder(self, record: Record) -> None:
        given = self.embedder.name if self.embedder is not None else ""
        if record.embedder and record.embedder != given:
            raise DataError(
                f"the collection “{self.name}” was embedded by {record.embedder}, "
                + (f"not by {given}" if given else "and no embedding model is given"),
                where=str(self.path.parent),
                hint=f"ingest with {record.embedder}, or remove the collection first",
            )

    async def _read(self, found: Found, record: Record) -> None:
        """Read what is new or changed, and stage it."""
        stored = await to_the_end(staging.stored_documents, self.path)
        chunking = record.options.chunking
        form = f"{VERSION}:{chunking.target}:{chunking.overlap}:{chunking.unit}:"
        pending: list[tuple[SourceFile, str, dict[str, Any]]] = []
        characters = 0
        stale = {path for path, digests in stored.items() if digests.staged}
        async with Reader() as reader:
            for number, file in enumerate(found.files):
                self.progress("reading", number, len(found.files))
                path = str(file.path)
                before = stored.get(path, staging.Stored())
                digest = form + await to_the_end(_content_hash, file.path)
                if digest == before.live:
                    self.unchanged.add(path)
                elif digest == before.staged:
                    stale.discard(path)
                else:
                    answer = await reader.read(file.path, chunking, record.options.maximum_bytes)
                    if "skipped" in answer:
                        self.report.skipped.append(Skipped(path, answer["skipped"]))
                        continue
                    self.report.notes += [(path, note) for note in answer["notes"]]
                    stale.discard(path)
                    pending.append((file, form + answer["content"], answer))
                    characters += len(answer["text"])
                    if characters > STAGED_AT_ONCE:
                        await to_the_end(staging.stage, self.path, pending)
                        pending, characters = [], 0
                self.seen.append(file)
                if path not in self.unchanged:
                    self.report.added += not before.live
                    self.report.changed += bool(before.live)
            self.progress("reading", len(found.files), len(found.files))
        await to_the_end(staging.stage, self.path, pending)
        await to_the_end(staging.unstage, self.path, stale)
        live = sum(bool(digests.live) for digests in stored.values())
        self.report.unchanged = len(self.unchanged)
        self.report.removed = live - self.report.unchanged - self.report.changed

    def _nothing(self, record: Record) -> DataError:
        skipped = [f"{entry.path}: {entry.reason}" for entry in self.report.skipped]
        return DataError(
            "nothing there can be read" + (f"; {len(skipped)} files were skipped" if skipped else ""),
            where="\n".join(skipped[:5]) or ", ".join(record.sources),
            hint="text, source code, Markdown, HTML and PDF are read; hidden files are not",
        )

    def _finish(
        self,
        record: Record,
        chunks: Sequence[staging.StoredChunk],
        store: VectorStore | None,
        keys: Sequence[str],
    ) -> None:
        """Index the words, if they changed, and commit."""
        report, generation = self.report, record.generation
        changes = report.added + report.changed + report.removed
        if changes or not lexical_folder(self.name, generation).is_dir():
            generation += 1
            ids = [chunk.id for chunk in chunks]
            write_lexical(self.name, generation, ids, staging.read_texts(self.path, ids))
        committed = replace(
            record,
            generation=generation,
            documents=len(self.seen),
            chunks=len(chunks),
            skipped=tuple(report.skipped),
            updated=time.time(),
        )
        staging.commit(self.path, committed, self.seen, self.unchanged)
        report.documents, report.chunks = committed.documents, committed.chunks
        report.embedder = committed.embedder
        remove_other_generations(self.name, generation)
        if store is not None:
            try:
                store.retain(keys)
            except WorkbenchError as error:
                # The collection is whole without this; the next ingest tries again.
                report.notes.append(
                    (error.where, f"vectors no longer needed are still kept: {error.message}")
                )


def _content_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        # The reader meets the same obstacle, and has the words for it.
        return ""
