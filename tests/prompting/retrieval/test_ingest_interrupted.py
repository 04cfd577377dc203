"""An ingest that fails, is cancelled or killed leaves what was there, and the next one goes on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pets import TOPICS, counts, found
from retrieval_setting import TopicEmbedder, write_files

from workbench.errors import DataError
from workbench.prompting.retrieval import folders, index, staging
from workbench.prompting.retrieval.collection import open_collection
from workbench.prompting.retrieval.folders import describe
from workbench.prompting.retrieval.ingest import ingest
from workbench.prompting.retrieval.lexical import LexicalIndex
from workbench.prompting.retrieval.reading import Reader
from workbench.prompting.retrieval.vectors import LocalVectors


class _Crash(BaseException):
    """Stands for whatever ends a process."""


def crash(*_: object, **__: object) -> Any:
    raise _Crash


@pytest.mark.parametrize(
    ("place", "attribute"),
    [
        (Reader, "read"),
        (LocalVectors, "add"),
        (LexicalIndex, "save"),
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
from workbench.prompting.retrieval.lexical import LexicalIndex
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
