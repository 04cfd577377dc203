"""What the path of a source means: file, folder, glob, the standard library, a data set, or a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.data.documents import Tally
from workbench.data.scan import scan
from workbench.data.sources import Source, find_source
from workbench.errors import DataError
from workbench.recipe import SourceSpec


def find(path: object, **fields: str) -> Source:
    return find_source(SourceSpec.model_validate({"path": str(path), **fields}))


def names(source: Source) -> list[str]:
    return [path.name for path in source.files]


def fill(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text('{"text": "x"}\n' if path.endswith("jsonl") else "x")


def test_a_folder_is_all_that_can_be_read_below_it_in_order(tmp_path: Path) -> None:
    fill(tmp_path, "b.txt", "a/z.md", "a/b/c.py", ".hidden/x.txt", ".y.txt", "picture.png", "README.md")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in find(tmp_path).files]
    assert found == ["README.md", "a/b/c.py", "a/z.md", "b.txt"]


def test_beside_records_a_readme_is_no_data(tmp_path: Path) -> None:
    fill(tmp_path, "README.md", "LICENSE.txt", "part.jsonl", "more.txt")
    assert names(find(tmp_path)) == ["more.txt", "part.jsonl"]


def test_a_glob_goes_through_folders(tmp_path: Path) -> None:
    fill(tmp_path, "b.txt", "a/c.txt", "a/d.md")
    assert names(find(tmp_path / "**" / "*.txt")) == ["c.txt", "b.txt"]


def test_a_file_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    fill(tmp_path, "a[1].txt")
    assert names(find(tmp_path / "a[1].txt")) == ["a[1].txt"]


def test_the_standard_library_is_megabytes_and_always_the_same(tmp_path: Path) -> None:
    first, second = find("stdlib:"), find("stdlib:")
    assert first.files == second.files
    assert not {"test", "tests", "site-packages"} & {
        part for path in first.files for part in path.parts[-3:-1]
    }
    found = scan(first, tmp_path, lambda what, done, total: None)
    assert found.num_bytes > 5_000_000
    assert found.documents > 300
    assert found.tally.repaired == 0


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("shakspeare.txt", "“{}” does not exist", "shakespeare.txt"),
        ("dta/shakespeare.txt", "does not exist", "data"),
        ("*.csv", "matches nothing", "**"),
        ("dat*", "matches only folders", "**"),
        ("data", "no file of a format", ".jsonl"),
    ],
)
def test_a_path_that_means_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, "shakespeare.txt", "data/picture.png")
    with pytest.raises(DataError) as caught:
        find(tmp_path / path)
    assert message.format(tmp_path / path) in caught.value.message
    assert hint in caught.value.hint


def test_a_relative_path_is_only_taken_for_a_hub_name_when_it_could_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert find("someone/corpus").is_remote
    assert find("corpus").is_remote
    for path in ("corpus.jsonl", "./corpus", "data/corpus", "a/b/c", "two words"):
        with pytest.raises(DataError, match="does not exist"):
            find(path)


def test_a_source_of_blank_documents_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": " "}\n' * 3)
    with pytest.raises(DataError, match="only 3 blank ones"):
        scan(find(tmp_path / "a.jsonl"), tmp_path, lambda what, done, total: None)


def test_empty_files_of_a_folder_are_blank_documents(tmp_path: Path) -> None:
    fill(tmp_path, "a.py")
    (tmp_path / "__init__.py").touch()
    tally = Tally()
    assert [document.text for document in find(tmp_path).documents(tally)] == ["x"]
    assert tally.blank == 1
