from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "pay.md").write_text("# Pay\n\nTravel is paid within 14 days.\n")
    (docs / "rest.md").write_text("# Rest\n\nThere are 28 days of holiday. \x1b[31m[red]\n")
    (docs / "tool.bin").write_bytes(b"\x00\x01\x02\xff" * 100)
    return docs


def out(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["collections", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def test_documents_are_ingested_searched_brought_up_to_date_and_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = out(capsys, "ingest", "handbook", str(folder))
    assert "“handbook”: 2 documents, 2 passages" in told
    assert "2 added, 0 changed, 0 unchanged, 0 removed, 1 left out" in told
    assert "searched by words alone" in told
    assert "tool.bin" in told

    found = json.loads(out(capsys, "search", "handbook", "how many days of holiday", "-k", "1", "--json"))
    assert [passage["name"] for passage in found] == ["rest.md"]
    shown = out(capsys, "search", "handbook", "holiday", "-k", "1")
    assert shown.startswith("[1] rest.md")
    assert "\x1b" not in shown and "[red]" in shown

    (folder / "pay.md").write_text("# Pay\n\nTravel is paid at once.\n")
    (folder / "rest.md").unlink()
    assert "0 added, 1 changed, 0 unchanged, 1 removed" in out(capsys, "ingest", "handbook")
    listed = json.loads(out(capsys, "list", "--json"))
    assert (listed["handbook"]["documents"], listed["handbook"]["sources"]) == (1, [str(folder)])
    assert out(capsys, "list").splitlines()[1].split()[:4] == ["handbook", "1", "1", "words"]

    out(capsys, "rm", "handbook")
    assert json.loads(out(capsys, "list", "--json")) == {}


def test_passages_can_be_shorter_and_files_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = " ".join(f"Sentence number {number} is here." for number in range(40))
    (folder / "long.txt").write_text(long)
    report = json.loads(
        out(capsys, "ingest", "one", str(folder), "--passage", "200", "--exclude", "*.md", "--json")
    )
    assert report["documents"] == 1
    assert report["chunks"] > 5
    assert json.loads(out(capsys, "list", "--json"))["one"]["options"]["exclude"] == ["*.md"]


def test_what_is_not_there_is_one_clear_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out(capsys, "ingest", "handbook", str(folder))
    assert "did you mean handbook?" in out(capsys, "search", "handbok", "x", code=1)
    assert "no collection called “nothing”" in out(capsys, "rm", "nothing", code=1)
    assert "cannot be the name" in out(capsys, "ingest", "../evil", str(folder), code=2)
    assert main(["collections", "ingest", "new", str(folder / "nowhere")]) == 1
