"""Which files are read, and which are left out, with or without a word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from retrieval_setting import write_files

from workbench.errors import DataError
from workbench.prompting.retrieval.sources import find_files

BOUND = 1000


def names(*sources: Path, exclude: tuple[str, ...] = ()) -> list[str]:
    return [file.name for file in find_files(sources, exclude, BOUND).files]


def reasons(*sources: Path) -> dict[str, str]:
    return {Path(entry.path).name: entry.reason for entry in find_files(sources, (), BOUND).skipped}


def test_hidden_things_caches_and_patterns_are_left_out(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path / "docs",
        {
            "b.md": "b",
            "a/deep/c.txt": "c",
            "a/z.log": "z",
            ".hidden": "h",
            ".git/config": "g",
            "node_modules/x.js": "x",
            "__pycache__/y.py": "y",
            "build/out.txt": "o",
        },
    )
    assert names(folder) == ["a/deep/c.txt", "a/z.log", "b.md", "build/out.txt"]
    assert names(folder, exclude=("*.log", "build", "a/deep/*")) == ["b.md"]
    assert reasons(folder) == {}


def test_links_are_listed_and_never_followed(tmp_path: Path) -> None:
    outside = write_files(tmp_path / "outside", {"secret.txt": "s"})
    folder = write_files(tmp_path / "docs", {"a.txt": "a"})
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "outside").symlink_to(outside, target_is_directory=True)
    (folder / "secret.txt").symlink_to(outside / "secret.txt")
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    assert names(folder) == ["a.txt"]
    assert sorted(reasons(folder)) == ["dangling", "loop", "outside", "secret.txt"]
    assert all("link" in reason for reason in reasons(folder).values())


def test_what_is_too_large_empty_or_no_file_is_listed(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path / "docs", {"large.txt": "x" * (BOUND + 1), "fits.txt": "x" * BOUND, "empty.txt": ""}
    )
    os.mkfifo(folder / "pipe")
    assert names(folder) == ["fits.txt"]
    found = reasons(folder)
    assert "1,001 bytes" in found["large.txt"]
    assert found["empty.txt"] == "it is empty"
    assert found["pipe"] == "it is no plain file"


def test_a_name_that_is_not_utf8_is_listed_in_a_form_that_can_be_shown(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "docs", {"a.txt": "a"})
    with open(os.fsencode(folder) + b"/caf\xe9.txt", "wb") as file:
        file.write(b"x")
    assert names(folder) == ["a.txt"]
    assert reasons(folder) == {"caf\ufffd.txt": "its name is not UTF-8"}


def test_files_and_overlapping_folders_are_read_once(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "docs", {"sub/a.txt": "a", "b.txt": "b"})
    found = find_files([folder, folder / "sub", folder / "b.txt"], (), BOUND)
    assert [file.path for file in found.files] == [folder / "b.txt", folder / "sub" / "a.txt"]


def test_a_source_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file") as caught:
        names(tmp_path / "nowhere")
    assert caught.value.where == str(tmp_path / "nowhere")
