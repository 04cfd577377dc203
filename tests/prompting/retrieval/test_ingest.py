"""Making collections and bringing them up to date."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pets import TOPICS, counts, found
from retrieval_setting import TopicEmbedder, pdf, write_files

from workbench.errors import DataError, PromptError, ServerError, StorageError
from workbench.prompting.retrieval import folders, index
from workbench.prompting.retrieval.chunking import Chunking
from workbench.prompting.retrieval.collection import open_collection
from workbench.prompting.retrieval.folders import describe, list_collections, locked, remove_collection
from workbench.prompting.retrieval.ingest import ingest
from workbench.prompting.retrieval.reading import Reader
from workbench.prompting.retrieval.record import Options, Record
from workbench.prompting.retrieval.report import IngestReport


async def test_a_folder_becomes_a_collection_that_says_what_it_holds(docs: Path) -> None:
    write_files(
        docs,
        {
            "paper.pdf": pdf("Fish swim"),
            "broken.pdf": b"%PDF-",
            "photo.jpg": b"\xff\xd8\0\0",
            "l1.txt": b"caf\xe9 au lait",
        },
    )
    report = await ingest(docs, "pets")
    assert counts(report) == (5, 0, 0, 0)
    assert (report.documents, report.chunks, report.embedded, report.embedder) == (5, 5, 0, "")
    reasons = {Path(entry.path).name: entry.reason for entry in report.skipped}
    assert reasons["photo.jpg"] == "it is a binary file"
    assert "damaged" in reasons["broken.pdf"]
    assert report.notes == [(str(docs / "l1.txt"), "1 places that are not UTF-8 were replaced by U+FFFD")]
    record = describe("pets")
    assert (record.documents, record.chunks, record.generation) == (5, 5, 1)
    assert record.skipped == tuple(report.skipped)
    assert record.sources == (str(docs),)
    listed = open_collection("pets").documents()
    assert [entry["name"] for entry in listed] == [
        "birds/owl.txt",
        "cats.md",
        "dogs.md",
        "l1.txt",
        "paper.pdf",
    ]
    assert [entry["title"] for entry in listed][:3] == ["owl.txt", "Cats", "Dogs"]


async def test_only_what_changed_is_read_and_embedded_again(
    docs: Path, embedder: TopicEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await ingest(docs, "pets", embedder)).embedded == 3
    read: list[str] = []
    real = Reader.read

    async def spy(self: Reader, path: Path, chunking: Chunking, maximum_bytes: int) -> dict[str, Any]:
        read.append(path.name)
        return await real(self, path, chunking, maximum_bytes)

    monkeypatch.setattr(Reader, "read", spy)
    embedder.texts.clear()
    os.utime(docs / "cats.md")
    assert counts(await ingest(None, "pets", embedder)) == (0, 0, 3, 0)
    assert read == [] and embedder.texts == []
    assert describe("pets").generation == 1

    (docs / "dogs.md").write_text("# Dogs\n\nHounds howl.")
    (docs / "cats.md").unlink()
    write_files(docs, {"eels.txt": "Eels wriggle."})
    assert counts(await ingest(None, "pets", embedder)) == (1, 1, 1, 1)
    assert sorted(read) == ["dogs.md", "eels.txt"]
    assert embedder.texts == ["Dogs\n# Dogs\n\nHounds howl.", "eels.txt\nEels wriggle."]
    assert await found("purr") == []
    assert await found("howl") == ["dogs.md"]
    assert await found("feline", embedder) != ["cats.md"]


async def test_a_file_that_moves_is_not_embedded_again(docs: Path, embedder: TopicEmbedder) -> None:
    await ingest(docs, "pets", embedder)
    (docs / "cats.md").rename(docs / "birds" / "felines.md")
    report = await ingest(None, "pets", embedder)
    assert (counts(report), report.embedded) == ((1, 0, 2, 1), 0)
    assert (await found("feline", embedder))[0] == "birds/felines.md"


async def test_other_chunking_reads_all_again_and_is_remembered(docs: Path) -> None:
    write_files(docs, {"long.txt": "A sentence of some words. " * 40})
    assert (await ingest(docs, "pets")).chunks == 4
    report = await ingest(None, "pets", options=Options(chunking=Chunking(200, 0), exclude=("*.md",)))
    assert counts(report) == (0, 2, 0, 2) and report.chunks > 4
    assert counts(await ingest(None, "pets")) == (0, 0, 2, 0)
    assert describe("pets").options.chunking == Chunking(200, 0)


async def test_an_embedder_can_come_later_but_not_another_one(docs: Path, embedder: TopicEmbedder) -> None:
    await ingest(docs, "pets")
    assert (await ingest(None, "pets", embedder)).embedded == 3
    assert (describe("pets").embedder, describe("pets").dimension) == ("topics", 4)
    other = TopicEmbedder(TOPICS, "another")
    with pytest.raises(DataError, match="embedded by topics, not by another"):
        await ingest(None, "pets", other)
    with pytest.raises(DataError, match="embedded by topics, and no embedding model is given") as caught:
        await ingest(None, "pets")
    assert "ingest with topics" in caught.value.hint
    with pytest.raises(DataError, match="embedded by topics, and the vectors of another"):
        open_collection("pets", other)
    shrunk = TopicEmbedder(TOPICS[:1])
    write_files(docs, {"new.txt": "new"})
    with pytest.raises(ServerError, match="have 2 numbers, those of the collection 4"):
        await ingest(None, "pets", shrunk)
    assert await found("purr", embedder) == await found("purr", embedder)


async def test_progress_counts_up_to_all(docs: Path, embedder: TopicEmbedder) -> None:
    heard: list[tuple[str, int, int]] = []
    await ingest(docs, "pets", embedder, progress=lambda *told: heard.append(told))
    assert [told for told in heard if told[0] == "reading"] == [("reading", n, 3) for n in range(4)]
    assert [told for told in heard if told[0] != "reading"] == [
        ("embedding", 0, 3),
        ("embedding", 3, 3),
        ("indexing", 0, 3),
        ("indexing", 3, 3),
    ]


async def test_nothing_to_read_is_an_error_and_leaves_no_collection(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "pictures", {"a.png": b"\0\0"})
    with pytest.raises(DataError, match="nothing there can be read; 1 files were skipped") as caught:
        await ingest(folder, "pets")
    assert caught.value.where.endswith("a.png: it is a binary file")
    with pytest.raises(DataError, match="no such file"):
        await ingest(tmp_path / "nowhere", "pets")
    with pytest.raises(PromptError, match="nothing to ingest"):
        await ingest(None, "pets")
    assert list_collections() == {}


async def test_a_folder_that_has_become_empty_does_not_empty_the_collection(docs: Path) -> None:
    await ingest(docs, "pets")
    for path in docs.rglob("*.*"):
        path.unlink()
    with pytest.raises(DataError, match="nothing there"):
        await ingest(None, "pets")
    assert await found("purr") == ["cats.md"]


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\nb", "x" * 101])
async def test_names_cannot_lead_out_of_the_folder(name: str, docs: Path) -> None:
    with pytest.raises(PromptError, match="cannot be the name"):
        await ingest(docs, name)


async def test_collections_are_listed_and_removed(docs: Path) -> None:
    await ingest(docs, "pets")
    await ingest(docs, "pets-2")
    (folders.folder_of("pets-2") / folders.DATABASE).write_bytes(b"rubbish" * 500)
    listed = list_collections()
    assert isinstance(listed["pets"], Record) and isinstance(listed["pets-2"], DataError)
    remove_collection("pets-2")
    remove_collection("pets")
    assert list_collections() == {}
    assert [path.name for path in folders.collections_dir().iterdir()] == [folders.LOCKS]
    with pytest.raises(DataError, match="no collection called “pets”"):
        remove_collection("pets")
    with pytest.raises(DataError, match="no collection"):
        open_collection("pets")


async def test_near_names_are_suggested(docs: Path) -> None:
    await ingest(docs, "pets")
    with pytest.raises(DataError) as caught:
        open_collection("pest")
    assert caught.value.hint == "did you mean pets?"


async def test_one_process_at_a_time_changes_a_collection(docs: Path) -> None:
    await ingest(docs, "pets")
    with locked("pets"):
        with pytest.raises(DataError, match="being changed by another process"):
            await ingest(None, "pets")
        with pytest.raises(DataError, match="being changed"):
            remove_collection("pets")
        assert await found("purr") == ["cats.md"]
    first, second = await asyncio.gather(ingest(None, "pets"), ingest(None, "pets"), return_exceptions=True)
    assert isinstance(first, IngestReport) and isinstance(second, DataError)


async def test_a_collection_of_another_version_is_refused(docs: Path) -> None:
    await ingest(docs, "pets")
    path = folders.folder_of("pets") / folders.DATABASE
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("""UPDATE record SET content = json_set(content, '$.format', 999)""")
    with pytest.raises(DataError, match="another version"):
        open_collection("pets")


async def test_a_home_that_cannot_be_written_is_one_clear_error(docs: Path, home: Path) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        await ingest(docs, "pets")


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\x93NUMPY rubbish")],
)
async def test_a_damaged_word_index_is_a_clear_error(docs: Path, damage: Callable[[Path], None]) -> None:
    await ingest(docs, "pets")
    damage(index.lexical_folder("pets", 1) / "data.csc.index.npy")
    with pytest.raises(DataError, match="word index of “pets” is damaged"):
        await found("purr")


class _Touches:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


async def test_a_pickle_in_a_collection_is_never_loaded(docs: Path, tmp_path: Path) -> None:
    await ingest(docs, "pets")
    files = [path for path in folders.folder_of("pets").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".npy", ".json", ".sqlite"}
    canary = tmp_path / "canary"
    hostile = np.array([_Touches(canary)], dtype=object)
    for path in files:
        if path.suffix == ".npy":
            np.save(path, hostile, allow_pickle=True)
            with pytest.raises(DataError, match="damaged"):
                await found("purr")
    assert not canary.exists()
    np.load(files[[path.suffix for path in files].index(".npy")], allow_pickle=True)
    assert canary.exists()
