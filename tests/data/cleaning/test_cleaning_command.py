"""`workbench data clean` and the view of the Data tab, on a cleaning that is there and on new ones."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.data.cleaning.conftest import contents, make_cleaning, prose, run_cleaning, write_lines
from workbench.cli import main
from workbench.errors import RecipeError, RunError, WorkbenchError
from workbench.recipe.cleaning import load_cleaning
from workbench.store.cleaning import Cleaning, cleanings_dir, find_cleaning, open_cleaning
from workbench.store.cleaning_launch import start, wait
from workbench.store.cleaning_log import StepLogReader
from workbench.store.cleaning_steps import StepReader
from workbench.store.status import Status
from workbench.tui.app import WorkbenchApp
from workbench.tui.data.cleaning_draft import Draft
from workbench.tui.data.cleaning_lines import difference
from workbench.tui.data.cleaning_pane import CleaningPane
from workbench.tui.tabs.data import DataTab

Capture = pytest.CaptureFixture[str]
SLOW = 100


@pytest.fixture
def there(cleaned: Cleaning, home: Path) -> Cleaning:
    """The finished cleaning in this test's home, called `a`."""
    shutil.copytree(cleaned.path, home / "cleanings" / "a")
    return find_cleaning("a")


def said(capture: Capture, *words: str) -> Any:
    """What a command prints as JSON."""
    assert main(["data", "clean", *words, "--json"]) == 0
    return json.loads(capture.readouterr().out)


def test_looking_at_a_cleaning(there: Cleaning, capsys: Capture) -> None:
    listed = said(capsys, "--list")
    assert listed["cleanings"][0]["name"] == "a" and listed["cleanings"][0]["state"] == "finished"
    assert {preset["name"] for preset in listed["presets"]} == {"web", "text", "conversations", "code"}
    report = said(capsys, "a", "--report")
    assert {step["step"]: step["dropped"] for step in report["steps"]}["near_duplicates"] == 3
    assert report["mixture"]["total"]["records"] == report["steps"][-1]["in"] - 3
    examples = said(capsys, "a", "--examples", "pii", "--count", "2", "--start", "3")
    assert examples["total"] == 5 and len(examples["records"]) == 2
    assert "anna.3@" in examples["records"][0]["before"] and "[EMAIL]" in examples["records"][0]["after"]
    assert main(["data", "clean", "a", "--card"]) == 0
    assert capsys.readouterr().out == there.card_path().read_text()
    keys = {entry["key"]: entry for entry in said(capsys, "--keys")}
    assert keys["near_duplicates.threshold"]["default"] == 0.7
    assert all(entry["meaning"] for entry in keys.values())


def test_tables_for_people_hold_no_escape_of_the_data(home: Path, tmp_path: Path, capsys: Capture) -> None:
    texts = ["\x1b[31m" + prose(random.Random(n)) for n in range(3)]
    path = write_lines(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    cleaning, _ = open_cleaning(load_cleaning("text", [f"data.sources=[{path}]", "run.name=x"]), "text")
    run_cleaning(cleaning)
    for words in (["--report"], ["--examples", "normalise"], ["--card"]):
        assert main(["data", "clean", "x", *words]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out and out.strip()
    assert main(["data", "clean", "x", "--rm"]) == 0 and not cleaning.path.exists()


def test_misuse_is_told(there: Cleaning, capsys: Capture) -> None:
    for words, wanted in (
        ([], "a recipe is missing"),
        (["wbe"], "did you mean web?"),
        (["web", "pii.kindes=[email]"], "did you mean pii.kinds?"),
        (["b", "--report"], "no cleaning called “b”"),
        (["a", "--examples", "c4"], "this cleaning has no step “c4”"),
        (["a", "--report", "executor.workers=1"], "takes the name of a cleaning and no keys"),
        (["a", "--stop"], "is not running here (it is finished)"),
        (["web", "executor=slurm"], "needs executor.partition"),
    ):
        assert main(["data", "clean", *words]) in (1, 2)
        assert wanted in capsys.readouterr().err


def test_a_name_belongs_to_one_recipe(there: Cleaning, corpus: Path) -> None:
    recipe = there.recipe()
    recipe.executor.workers = 7
    assert open_cleaning(recipe, "text") == (there, True)
    recipe.pii.replacement = "numbered"
    with pytest.raises(WorkbenchError, match="by another recipe"):
        open_cleaning(recipe, "text")
    recipe.run.name = None
    cleaning, was_there = open_cleaning(recipe, "text")
    assert (cleaning.name, was_there) == ("text-1", False)
    # Not finished: the same recipe without a name goes on with it, on what is asked for now.
    recipe.executor.workers, recipe.executor.memory_megabytes = 1, 99
    assert open_cleaning(recipe, "text") == (cleaning, True)
    assert cleaning.recipe().executor.workers == 1 and cleaning.recipe().executor.memory_megabytes == 512


def test_a_run_is_not_taken_for_a_cleaning(home: Path, tmp_path: Path) -> None:
    Status(objective="clm").write(tmp_path / "status.json")
    with pytest.raises(RunError, match="no cleaning called"):
        find_cleaning(str(tmp_path))


@pytest.mark.slow
def test_a_command_cleans_and_a_dry_run_leaves_nothing(home: Path, tmp_path: Path, capsys: Capture) -> None:
    texts = [prose(random.Random(n)) for n in range(20)] + ["too short", "# one more of them " * 60]
    path = write_lines(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    exam = write_lines(tmp_path / "exam.jsonl", [{"question": prose(random.Random(99))}])
    sets = f"decontamination.eval_sources=[{exam}]"
    found = said(capsys, "text", f"data.sources=[{path}]", sets, "--dry-run", "22")
    step = next(step for step in found["steps"] if step["step"] == "gopher_quality")
    # What is observed is that rule's own records', not those of all that the step drops.
    observed = {rule["key"]: rule["observed"] for rule in step["rules"]}
    assert step["dropped"] == 2
    assert observed == {"gopher_quality.min_doc_words": "2", "gopher_quality.max_symbol_word_ratio": "0.2"}
    assert not home.exists()
    assert main(["data", "clean", "text", f"data.sources=[{path}]", "run.name=x", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["mixture"]["total"]["records"] == 20
    before = contents(Path(result["result"]))
    assert main(["data", "clean", "text", f"data.sources=[{path}]", "run.name=x"]) == 0
    assert contents(Path(result["result"])) == before
    path.write_text("{broken\n")
    assert main(["data", "clean", "text", f"data.sources=[{path}]"]) == 1
    assert f"{path}:1" in capsys.readouterr().err


async def shown(pilot: Pilot[None]) -> str:
    pane = pilot.app.query_one(CleaningPane)
    pane.look()
    # A log is read in a thread.
    await pilot.app.workers.wait_for_complete(
        [worker for worker in pilot.app.workers if worker.group == "log"]
    )
    await pilot.pause()
    return pane.lines.text


async def test_the_view_browses_a_cleaning(there: Cleaning, monkeypatch: pytest.MonkeyPatch) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "C")
        tab = app.query_one(DataTab)
        pane = app.query_one(CleaningPane)
        await pilot.press("p")
        tab.prompt.value = "a"
        await pilot.press("enter")
        assert "unicode_form" in await shown(pilot)
        pane.steps.highlighted = pane.draft.names().index("pii")
        assert "phone 5" in await shown(pilot)
        await pilot.press("enter")
        text = await shown(pilot)
        assert "pii 1 of 5" in text and "anna.0@mail.example.net" in text and "[EMAIL]" in text
        await pilot.press("right_square_bracket")
        assert "anna.1@" in await shown(pilot)
        with monkeypatch.context() as gone:
            gone.setattr(StepLogReader, "get", lambda log, number: (there.path / "gone").read_bytes())
            await pilot.press("right_square_bracket")
            assert "could not be read" in await shown(pilot)
        pane.steps.highlighted = pane.draft.names().index("normalise")
        pane.steps.highlighted = pane.draft.names().index("toxicity")
        await pilot.press("f")
        assert "threat only" in await shown(pilot)
        await pilot.press("escape", "m")
        assert "effective number of sources" in await shown(pilot)
        await pilot.press("v")
        assert "pretty_name" in await shown(pilot)
        await pilot.press("escape", "plus")
        await pilot.pause()
        assert tab.subject.sources()[-1]["path"] == str(there.result_path())


async def test_the_view_changes_a_recipe_and_says_what_is_wrong(home: Path, corpus: Path) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("2", "C")
        pane = app.query_one(CleaningPane)
        pane.take([{"path": str(corpus)}])
        assert pane.draft.recipe().data.sources[0].path == str(corpus)
        await pilot.press("space")
        assert not pane.draft.recipe().normalise.enabled
        pane.answer("set", "near_duplicates.treshold=0.9")
        pane.answer("set", "near_duplicates.threshold=0.9")
        await pilot.pause()
        assert pane.draft.overrides == ["normalise.enabled=false", "near_duplicates.threshold=0.9"]
        pane.answer("preset", "conversations")
        assert not pane.draft.recipe().boilerplate.enabled
        pane.answer("preset", "nothing-of-the-kind")
        assert pane.draft.preset == "conversations"
        # One that was damaged by hand is told of, and what was shown stays.
        broken = cleanings_dir() / "broken"
        broken.mkdir(parents=True)
        (broken / "recipe.yaml").write_text("order: 5\n")
        Status(objective="cleaning").write(broken / "status.json")
        pane.answer("preset", "broken")
        assert pane.draft.cleaning is None and pane.draft.preset == "conversations"


@pytest.mark.slow
async def test_the_view_starts_a_cleaning(home: Path, corpus: Path) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "C")
        pane = app.query_one(CleaningPane)
        pane.take([{"path": str(corpus)}])
        await pilot.press("g")
        cleaning = pane.draft.cleaning
        assert cleaning is not None and cleaning.name == "text-1"
        assert wait(cleaning, SLOW) == "finished"
        pane.look()
        assert pane.draft.counts("near_duplicates") is not None
        with pytest.raises(WorkbenchError, match="is finished"):
            start(cleaning)


def test_what_is_changed_of_a_cleaning_keeps_its_sources(there: Cleaning, corpus: Path) -> None:
    draft = Draft()
    draft.use([{"path": "elsewhere.jsonl"}])
    draft.open("a")
    draft.set("pii.enabled=false")
    assert draft.cleaning is None and [spec.path for spec in draft.recipe().data.sources] == [str(corpus)]
    draft.open("text")
    assert [spec.path for spec in draft.recipe().data.sources] == ["elsewhere.jsonl"]
    assert "of elsewhere.jsonl " in draft.title("")


def test_sources_that_a_change_or_a_file_names_are_cleaned_and_not_those_of_the_tab(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("data: {sources: [a.jsonl, b.jsonl]}\n")
    draft = Draft()
    draft.use([{"path": "tab.jsonl"}])
    draft.set("data.sources=[typed.jsonl]")
    assert [spec.path for spec in draft.recipe().data.sources] == ["typed.jsonl"]
    draft.open("web")
    draft.set("data.sources.0.limit=9")
    assert [(spec.path, spec.limit) for spec in draft.recipe().data.sources] == [("tab.jsonl", 9)]
    draft.open(str(tmp_path / "mine.yaml"))
    assert [spec.path for spec in draft.recipe().data.sources] == ["a.jsonl", "b.jsonl"]
    assert "of a.jsonl and 1 more " in draft.title("")
    draft.open("web")
    assert [spec.path for spec in draft.recipe().data.sources] == ["tab.jsonl"]


def test_a_draft_outlives_its_files_and_a_change_that_is_refused(home: Path, tmp_path: Path) -> None:
    cleaning = make_cleaning(cleanings_dir() / "x", "text", "data.sources=[a.jsonl]")
    draft = Draft()
    draft.open("x")
    with pytest.raises(RecipeError):
        draft.set("pii.nonsense=1")
    assert draft.cleaning == cleaning and draft.recipe().data.sources[0].path == "a.jsonl"
    shutil.rmtree(cleaning.path)
    draft.use([{"path": "b.jsonl"}])
    assert draft.recipe().data.sources[0].path == "a.jsonl"
    (tmp_path / "mine.yaml").write_text("pii: {enabled: false}\n")
    draft.open(str(tmp_path / "mine.yaml"))
    (tmp_path / "mine.yaml").unlink()
    draft.use([{"path": "c.jsonl"}])
    assert draft.recipe().data.sources[0].path == "c.jsonl" and not draft.recipe().pii.enabled


def test_a_second_driver_leaves_the_status_alone(there: Cleaning) -> None:
    before = there.status_path.read_bytes()
    with there.lock_path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "workbench.data.cleaning", str(there.path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "is running already" in ended.stdout
    assert there.status_path.read_bytes() == before


def test_a_difference_marks_words_and_leaves_out_what_is_alike() -> None:
    same = [f"line {n}" for n in range(20)]
    before = "\n".join([*same, "mail to a@x.org now"])
    after = "\n".join([*same, "mail to [EMAIL] now"])
    lines = difference(before, after)
    assert any("lines alike" in text for line in lines for text, _ in line)
    marked = [text for line in lines for text, role in line if "strong" in role]
    assert marked == ["a@x.org", "[EMAIL]"]


def test_counts_are_read_once_and_what_comes_later_is_added(tmp_path: Path) -> None:
    cleaning = make_cleaning(tmp_path / "c", "text", "data.sources=[a.jsonl]")
    reader = StepReader(cleaning)
    folder = cleaning.steps_path / "01-normalise"
    folder.mkdir(parents=True)
    came = []
    for number in range(3):
        (folder / f"{number:05d}.json").write_text('{"in": 2, "kept": 1, "dropped": 1, "reasons": {"a": 1}}')
        step = reader.read()[0]
        came.append((step.came, step.shards, step.reasons["a"]))
        step.counts["in"] = 99  # theirs, and not what is kept
    assert came == [(2, 1, 1), (4, 2, 2), (6, 3, 3)]
    # Half written: as soon as it can be read.
    os.utime(folder, (1, 1))
    (folder / "00003.json").write_text('{"in"')
    os.utime(folder, (2, 2))
    assert reader.read()[0].came == 6
    (folder / "00003.json").write_text('{"in": 5}')
    os.utime(folder, (2, 2))
    assert reader.read()[0].came == 11
    # A folder that stays as it is is not looked through.
    (folder / "00000.json").unlink()
    (folder / "00004.json").write_text('{"in": 7}')
    os.utime(folder, (2, 2))
    assert reader.read()[0].came == 11
    os.utime(folder, (3, 3))
    assert reader.read()[0].came == 18
