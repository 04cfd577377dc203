"""The view of scaling laws at both sizes, and what was predicted of a run in its chart."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scaling_studies import finished_study, make_study

from workbench.scaling import queue
from workbench.store.scaling_prediction import Prediction, write_prediction
from workbench.store.scaling_studies import DONE, QueueState, Study, list_studies
from workbench.tui import editor
from workbench.tui.app import WorkbenchApp
from workbench.tui.build import scaling_actions
from workbench.tui.build import scaling_drafts as drafts
from workbench.tui.build.scaling_reading import CommandFailed, command
from workbench.tui.build.scaling_screen import EMPTY, ScalingScreen
from workbench.tui.train.predicted import predicted_points
from workbench.tui.widgets.chart import Chart
from workbench.tui.widgets.text_lines import TextLines

SUMS = {"steps": 1, "exact": 0.5, "exact_interval": [0.4, 0.6], "per_token": -1.0,
        "per_token_interval": [-1.1, -0.9], "expected": 0.4}  # fmt: skip


@pytest.fixture
def study() -> Study:
    found = finished_study()
    names = [run["name"] for run in found.plan()["runs"]]
    QueueState("finished", runs={name: {"state": DONE, "tries": 1, "error": ""} for name in names}).write(
        found.queue_path
    )
    models = [{"parameters": size, "rows": [SUMS]} for size in (1e5, 1e6)]
    found.write(found.emergence_path, {"models": models, "verdicts": {"1": "grows \x1b[31msmoothly"}})
    return found


def words(screen: ScalingScreen) -> str:
    return screen.query_one(TextLines).text


def titles(screen: ScalingScreen) -> list[str]:
    return [chart.title for chart in screen.query(Chart) if chart.display]


async def open_screen(pilot: Any, until: Any) -> ScalingScreen:
    screen = ScalingScreen()
    await pilot.app.push_screen(screen)
    await until(pilot, lambda: screen.reading.name or words(screen) == EMPTY)
    return screen


async def test_all_panes_of_a_study(study: Study, size: tuple[int, int], until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        screen = await open_screen(pilot, until)
        wide = size[0] == 200
        for key, said in (("l", "N_opt ∝ C^a"), ("m", "exact match"), ("r", "compute ")):
            await pilot.press(key)
            await until(pilot, lambda said=said: said in words(screen), key)
        assert "\x1b" not in text_of(app)
        for key, title in (("c", "loss by compute"), ("i", "IsoFLOP parabolas"), ("d", "residuals")):
            await pilot.press(key)
            await until(pilot, lambda title=title: title in titles(screen) and title in text_of(app), key)
            assert len(titles(screen)) == (3 if wide else 1)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not screen)


async def test_a_size_is_predicted_and_the_queue_begun(
    study: Study, make_run: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tiny", "other"):
        made = Prediction(2.0, 1.9, 2.1, 0.95, 100, 1e6, 1e5, 6e11, f"study {name}")
        write_prediction(make_run(f"by-{name}"), made)
    asked: list[list[str]] = []

    def answer(arguments: list[str], stopped: Any) -> Any:
        asked.append(list(arguments))
        if arguments[0] == "fit":
            raise CommandFailed("too few runs", hint="more")
        return {"loss": 2.0, "low": 1.9, "high": 2.1, "level": 0.95, "parameters": 1e6, "tokens": 2e7,
                "flops": 1e14, "step": 10, "notes": ["doubt: E"], "run": "larger"}  # fmt: skip

    started: list[tuple[str, int]] = []
    monkeypatch.setattr(scaling_actions, "command", answer)
    monkeypatch.setattr(queue, "start_queue", lambda study, jobs: started.append((study.name, jobs)))
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_screen(pilot, until)
        await until(pilot, lambda: screen.check_action("predict", ()))
        await pilot.press("o")
        await until(pilot, lambda: "by-tiny  2 [1.9, 2.1] at step 100" in words(screen))
        assert "by-other" not in words(screen)
        await pilot.press("p", "ctrl+u", *"1e6", "space", *"2e7", "enter")
        await until(pilot, lambda: "2.0000" in words(screen))
        assert asked == [["predict", "tiny", "--parameters", "1e6", "--tokens", "2e7"]]
        await pilot.press("P")
        await until(pilot, lambda: asked[-1][-1] == "--start")
        await pilot.press("f")
        await until(pilot, lambda: any("too few runs" in note.message for note in app._notifications))
        await pilot.press("W")
        await until(pilot, lambda: started == [("tiny", 2)])


async def test_a_draft_is_not_lost_where_planning_fails(
    home: Path, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []

    def edit(app: Any, text: str, name: str) -> str:
        texts.append(text)
        return f"{text}# changed\n"

    def fail(arguments: list[str], stopped: Any) -> Any:
        raise CommandFailed("a budget too small to fit a law")

    monkeypatch.setattr(editor, "edit", edit)
    monkeypatch.setattr(scaling_actions, "command", fail)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_screen(pilot, until)
        await pilot.press("n")
        await until(pilot, lambda: app.screen is not screen)
        await pilot.press("enter")
        await until(pilot, lambda: screen.prompt.asked)
        await pilot.press("enter")
        await until(pilot, lambda: any("too small" in note.message for note in app._notifications))
        # It is the first that a new study may be made from, and what was changed is in it.
        await pilot.press("n")
        await until(pilot, lambda: app.screen is not screen)
        await pilot.press("enter")
        await until(pilot, lambda: len(texts) == 2)
        assert texts[1] == f"{texts[0]}# changed\n"
        monkeypatch.setattr(scaling_actions, "command", lambda *words: {"name": "new", "runs": []})
        await until(pilot, lambda: screen.prompt.asked)
        assert drafts.read() == f"{texts[1]}# changed\n"
        await pilot.press("enter")
        await until(pilot, lambda: drafts.read() is None)


def test_a_study_that_is_edited_has_a_draft_of_its_own(home: Path) -> None:
    study = make_study()
    drafts.write("a new one")
    drafts.write("another budget", study.name)
    assert (drafts.read(), drafts.read(study.name)) == ("a new one", "another budget")
    # One that was planned since by other means is what counts.
    later = study.spec_path.stat().st_mtime + 60
    os.utime(study.spec_path, (later, later))
    assert drafts.read(study.name) is None
    drafts.remove(study.name)
    assert drafts.read() == "a new one" and list_studies() == [study]


async def test_to_edit_a_study_leaves_the_draft_of_a_new_one(
    home: Path, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    drafts.write("an hour's work")
    asked: list[str] = []

    def answer(arguments: list[str], stopped: Any) -> Any:
        asked.append(Path(arguments[1]).read_text())
        if len(asked) == 1:
            raise CommandFailed("a budget too small to fit a law")
        return {"name": study.name, "runs": []}

    monkeypatch.setattr(editor, "edit", lambda app, text, name: f"{text}# changed\n")
    monkeypatch.setattr(scaling_actions, "command", answer)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_screen(pilot, until)
        await pilot.press("e")
        await until(pilot, lambda: any("too small" in note.message for note in app._notifications))
        # It goes on from what was refused.
        await pilot.press("e")
        await until(pilot, lambda: len(asked) == 2 and drafts.read(study.name) is None)
    assert asked[1] == f"{asked[0]}# changed\n"
    assert drafts.read() == "an hour's work"


async def test_no_study_and_a_damaged_one(until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_screen(pilot, until)
        assert words(screen) == EMPTY
        study = make_study("broken")
        study.plan_path.write_text("{")
        await until(pilot, lambda: "cannot be read" in words(screen))


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(CommandFailed) as caught:
        command(["show", "nothing"])
    assert caught.value.message == "there is no study called “nothing”"
    assert caught.value.hint == "workbench scale list shows the studies"


def test_a_command_ends_with_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Stands in for the interpreter, and would sleep for long.
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    with pytest.raises(CommandFailed):
        command(["fit", "x"], lambda: True)
    slow.write_text("#!/bin/sh\necho no json\n")
    with pytest.raises(CommandFailed, match="no answer that can be read"):
        command(["fit", "x"])


async def test_what_was_predicted_of_a_run_is_drawn_with_it(
    make_run: Any, until: Any, train_tab: Any
) -> None:
    run = make_run("larger", steps=50)
    curve = ((50.0, 2.5), (100.0, 2.0))
    write_prediction(run, Prediction(2.0, 1.9, 2.1, 0.95, 100, 1e6, 1e5, 6e11, "study tiny", curve=curve))
    parts = predicted_points(run, "num_tokens")
    assert parts["predicted"][0].tolist() == [5e5, 1e6]
    assert parts["interval"][1].tolist() == [1.9, 2.1] and predicted_points(run, "time") == {}
    app = WorkbenchApp()
    async with app.run_test(size=(120, 30)) as pilot:
        key = "eval_loss\0larger\0predicted"

        def chart_of_loss() -> Chart:
            found: dict[str, Chart] = {chart.title: chart for chart in train_tab(app).grid.charts}
            return found["loss"]

        await until(pilot, lambda: key in chart_of_loss().series_keys)
        chart = chart_of_loss()
        series = chart._series["eval_loss\0larger\0interval"]
        assert series.style.marks == "bars" and np.array_equal(series.x.view, [100, 100])
        await until(pilot, lambda: chart._viewport.data[1] == 100, "the axis reaches to where the run ends")


def test_damaged_lines_of_a_prediction_are_none(make_run: Any) -> None:
    run = make_run("odd")
    (run.path / "prediction.json").write_text(json.dumps({"loss": 1}))
    assert predicted_points(run, "step") == {}
