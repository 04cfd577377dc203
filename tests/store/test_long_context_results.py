"""Evaluations on long text on disk: numbered, found by name, damage passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from long_results import content_of

from workbench import paths
from workbench.errors import RunError, StorageError, UsageError
from workbench.recipe import load
from workbench.store import long_context
from workbench.store.runs import create_run


def test_results_are_numbered_by_model_and_found_again(tmp_path: Path) -> None:
    run = create_run(load("nano", ["run.name=small-1"]))
    first = long_context.save(content_of(), str(run.path / "final"), run.path)
    second = long_context.save(content_of(lengths=[256]), str(run.path / "final"), run.path)
    assert (first.name, second.name) == ("small-1:1", "small-1:2")
    assert second.path == run.path / "context" / "2.json"
    (run.path / "context" / "3.json").write_text("{")
    (run.path / "context" / "4.json").write_text("[]")
    assert [result.number for result in long_context.results_in(run.path / "context")] == [1, 2]
    folder = tmp_path / "small"
    folder.mkdir()
    other = long_context.save(content_of(str(folder)), str(folder), None)
    assert other.path.is_relative_to(paths.home() / "context") and other.name == "small:1"
    assert {result.name for result in long_context.every()} == {"small-1:1", "small-1:2", "small:1"}
    assert (
        long_context.find("small-1").number == 2 and long_context.find("small-1:1").content == first.content
    )
    assert long_context.find(str(second.path)).content == second.content
    assert long_context.find("small").content == other.content
    # A damaged file keeps its number.
    assert long_context.save(content_of(), "", run.path).number == 5


def test_two_that_end_together_get_two_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    run = create_run(load("nano", ["run.name=small-1"]))
    long_context.save(content_of(), "", run.path)
    # Both looked before either wrote.
    monkeypatch.setattr(long_context, "_numbered", lambda folder: [])
    numbers = [long_context.save(content_of(seed=seed), "", run.path).number for seed in (1, 2)]
    monkeypatch.undo()
    assert numbers == [2, 3]
    found = long_context.results_in(run.path / "context")
    assert [result.content["seed"] for result in found] == [0, 1, 2]


def test_a_full_disk_leaves_no_number_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise StorageError("no space left on device")

    run = create_run(load("nano", ["run.name=small-1"]))
    with monkeypatch.context() as patched:
        patched.setattr(long_context, "replace_file", full)
        with pytest.raises(StorageError):
            long_context.save(content_of(), "", run.path)
    assert not list((run.path / "context").iterdir())
    assert long_context.save(content_of(), "", run.path).number == 1


def test_what_is_not_there_is_said_with_what_is() -> None:
    run = create_run(load("nano", ["run.name=small-1"]))
    with pytest.raises(RunError, match="“small-1” was not evaluated") as caught:
        long_context.find("small-1")
    assert caught.value.hint == "workbench context eval small-1"
    long_context.save(content_of(), "", run.path)
    with pytest.raises(UsageError, match="no evaluation 7 of small-1"):
        long_context.find("small-1:7")
    (run.path / "context" / "other.json").write_text("{}")
    with pytest.raises(RunError, match="holds no evaluation"):
        long_context.find(str(run.path / "context" / "other.json"))
