"""Making collections and bringing them up to date, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from retrieval_setting import TopicEmbedder, pdf, write_files

from workbench.errors import DataError, PromptError, ServerError, StorageError
from workbench.prompting.retrieval import folders, index, staging
from workbench.prompting.retrieval.chunking import Chunking
from workbench.prompting.retrieval.collection import open_collection
from workbench.prompting.retrieval.folders import describe, list_collections, locked, remove_collection
from workbench.prompting.retrieval.ingest import IngestReport, ingest
from workbench.prompting.retrieval.reading import Reader
from workbench.prompting.retrieval.record import Options, Record
from workbench.prompting.retrieval.vectors import LocalVectors

FILES: dict[str, str | bytes] = {
    "cats.md": "# Cats\n\nCats purr when they are content.",
    "dogs.md": "# Dogs\n\nDogs bark at strangers.",
    "birds/owl.txt": "Owls hunt at night.",
}
TOPICS = (["cat", "feline"], ["dog", "hound"], ["owl", "bird"])


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write_files(tmp_path / "docs", FILES)


@pytest.fixture
def embedder() -> TopicEmbedder:
    return TopicEmbedder(TOPICS)


def counts(report: IngestReport) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.unchanged, report.removed


async def found(query: str, embedder: TopicEmbedder | None = None) -> list[str]:
    collection = open_collection("pets", embedder)
    return [passage.name for passage in await collection.search(query, 3)]


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


class _Crash(BaseException):
    """Stands for whatever ends a process."""


def crash(*_: object, **__: object) -> Any:
    raise _Crash


@pytest.mark.parametrize(
    ("place", "attribute"),
    [
        (Reader, "read"),
        (LocalVectors, "add"),
        (index.LexicalIndex, "save"),
        (index, "sync_folder"),
        (staging, "commit"),
    ],
    ids=["reading", "embedding", "writing the index", "renaming the index", "committing"],
)
async def test_an_ingest_that_breaks_off_anywhere_changes_nothing_and_can_go_on(
    docs: Path, embedder: TopicEmbedder, monkeypatch: pytest.MonkeyPatch, place: Any, attribute: str
) -> None:
    await ingest(docs, "pets", embedder)
    before = describe("pets")
    (docs / "cats.md").write_text("# Cats\n\nFelines sleep all day.")
    (docs / "dogs.md").unlink()
    write_files(docs, {"eels.txt": "Eels wriggle."})
    with monkeypatch.context() as patch:
        patch.setattr(place, attribute, crash)
        with pytest.raises(_Crash):
            await ingest(None, "pets", embedder)
    assert describe("pets") == before
    assert sorted(await found("purr bark")) == ["cats.md", "dogs.md"]
    assert (await found("hound", embedder))[0] == "dogs.md"
    assert await found("wriggle") == []
    assert counts(await ingest(None, "pets", embedder)) == (1, 1, 1, 1)
    assert await found("wriggle") == ["eels.txt"]
    assert await found("purr bark") == []
    left = sorted(path.name for path in folders.folder_of("pets").iterdir())
    assert left == ["bm25-2", folders.DATABASE]


async def test_a_first_ingest_that_breaks_off_is_never_opened_and_goes_on(
    docs: Path, embedder: TopicEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(staging, "commit", crash)
        with pytest.raises(_Crash):
            await ingest(docs, "pets", embedder)
    with pytest.raises(DataError, match="first ingest of “pets” never ended"):
        open_collection("pets")
    embedder.texts.clear()
    monkeypatch.setattr(Reader, "read", crash)
    assert counts(await ingest(None, "pets", embedder)) == (3, 0, 0, 0)
    assert embedder.texts == []
    assert (await found("feline", embedder))[0] == "cats.md"


async def test_vectors_of_an_interrupted_ingest_are_no_other_embedders(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(staging, "commit", crash)
        with pytest.raises(_Crash):
            await ingest(docs, "pets", TopicEmbedder(TOPICS[:1], "small"))
    large = TopicEmbedder(TOPICS, "large")
    assert (await ingest(docs, "pets", large)).embedded == 3
    assert (await found("hound", large))[0] == "dogs.md"


class _Hanging(TopicEmbedder):
    """An embedder that answers once, and then never again."""

    def __init__(self) -> None:
        super().__init__(TOPICS)
        self.asked = asyncio.Event()

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        if self.texts:
            self.asked.set()
            await asyncio.sleep(600)
        return await super().embed(texts)


async def test_cancelling_keeps_what_was_embedded_and_gives_up_the_lock(tmp_path: Path) -> None:
    many = write_files(tmp_path / "many", {f"{number}.txt": f"Cat number {number}." for number in range(100)})
    hanging = _Hanging()
    task = asyncio.create_task(ingest(many, "pets", hanging))
    await hanging.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    embedder = TopicEmbedder(TOPICS)
    report = await ingest(many, "pets", embedder)
    assert (report.added, report.embedded) == (100, 100 - len(hanging.texts))
    assert 0 < len(hanging.texts) < 100


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from workbench.prompting.retrieval import staging
from workbench.prompting.retrieval.ingest import ingest
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "after index":
    staging.commit = die
else:
    real = staging.Record.write
    def write(self, connection):
        real(self, connection)
        # More than SQLite holds in memory, so that half of the commit has reached the file.
        connection.execute("CREATE TABLE spilled (content BLOB)")
        connection.executemany("INSERT INTO spilled VALUES (zeroblob(100000))", [()] * 100)
        die()
    if sys.argv[2] == "in the commit":
        staging.Record.write = write
asyncio.run(ingest(Path(sys.argv[1]), "pets"))
"""


@pytest.mark.parametrize("moment", ["after index", "in the commit"])
async def test_a_killed_process_leaves_the_old_collection_and_no_lock(docs: Path, moment: str) -> None:
    await ingest(docs, "pets")
    (docs / "cats.md").write_text("Felines sleep.")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(docs), moment], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    journal = folders.folder_of("pets") / f"{folders.DATABASE}-journal"
    assert journal.exists() == (moment == "in the commit")
    assert await found("purr") == ["cats.md"]
    assert await found("sleep") == []
    assert counts(await ingest(None, "pets")) == (0, 1, 2, 0)
    assert await found("sleep") == ["cats.md"]


async def test_two_processes_at_once_leave_one_whole_collection(docs: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(docs), "never"]
    racing = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(3)]
    ends = [(process.communicate()[1].decode(), process.returncode) for process in racing]
    assert any(code == 0 for _, code in ends)
    assert all(code == 0 or "being changed by another process" in said for said, code in ends)
    assert await found("purr") == ["cats.md"]


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
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\x93NUMPY rubbish")]
)
async def test_a_damaged_word_index_is_a_clear_error(docs: Path, damage: Callable[[Path], None]) -> None:
    await ingest(docs, "pets")
    damage(index.lexical_folder("pets", 1) / "data.csc.index.npy")
    with pytest.raises(DataError, match="word index of “pets” is damaged"):
        await found("purr")
