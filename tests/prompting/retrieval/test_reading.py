"""Files are read by another process, and no file can stall or end this one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from retrieval_setting import pdf, write_files

from workbench.prompting.retrieval.chunking import Chunking
from workbench.prompting.retrieval.reading import Reader

BOUND = 1 << 20


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


async def test_a_file_comes_back_as_text_and_passages(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path, {"a.md": "# Title\n\nText of it.", "b.pdf": pdf("One", "Two"), "c.png": b"\0\1"}
    )
    before = children()
    async with Reader() as reader:
        markdown = await reader.read(folder / "a.md", Chunking(), BOUND)
        paper = await reader.read(folder / "b.pdf", Chunking(), BOUND)
        picture = await reader.read(folder / "c.png", Chunking(), BOUND)
        gone = await reader.read(folder / "gone.txt", Chunking(), BOUND)
        large = await reader.read(folder / "a.md", Chunking(), 5)
        assert len(children() - before) == 1
    assert children() == before
    [chunk] = markdown["chunks"]
    assert (markdown["title"], chunk["headings"]) == ("Title", ["Title"])
    assert markdown["text"][chunk["start"] : chunk["end"]] == chunk["text"]
    assert (paper["unit"], paper["chunks"][0]["first"], paper["chunks"][0]["last"]) == ("page", 1, 2)
    assert picture == {"skipped": "it is a binary file"}
    assert gone == {"skipped": "No such file or directory"}
    assert large == {"skipped": "it grew while it was read"}


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader whose child hangs on one file and dies of another."""
    code = """
import os, time
from workbench.prompting.retrieval import worker
real = worker.extract
def extract(data, path):
    if path.name == "hangs.txt":
        time.sleep(600)
    if path.name == "kills.txt":
        os.kill(os.getpid(), 9)
    if path.name == "swells.txt":
        bytearray(1 << 40)
    print("chatter that must not reach the answers")
    return real(data, path)
worker.extract = extract
worker.main()
"""
    real = asyncio.create_subprocess_exec

    async def start(*command: str, **options: Any) -> asyncio.subprocess.Process:
        return await real(sys.executable, "-c", code, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)


@pytest.mark.usefixtures("hostile")
async def test_a_file_that_hangs_kills_or_swells_costs_only_itself(tmp_path: Path) -> None:
    names = ("hangs.txt", "kills.txt", "swells.txt", "good.txt")
    folder = write_files(tmp_path, dict.fromkeys(names, "text"))
    async with Reader(seconds=1) as reader:
        answers = [await reader.read(folder / "hangs.txt", Chunking(), BOUND)]
        reader.seconds = 60
        answers += [await reader.read(folder / name, Chunking(), BOUND) for name in names[1:]]
    assert answers[0] == {"skipped": "reading it took more than 1 seconds"}
    assert answers[1] == {"skipped": "the process that read it died of it"}
    assert answers[2] == {"skipped": "reading it needs too much (MemoryError)"}
    assert answers[3]["text"] == "text"


@pytest.mark.usefixtures("hostile")
async def test_cancelling_ends_the_child(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"hangs.txt": "text"})
    before = children()

    async def read() -> None:
        async with Reader() as reader:
            await reader.read(folder / "hangs.txt", Chunking(), BOUND)

    task = asyncio.create_task(read())
    while children() == before:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == before
