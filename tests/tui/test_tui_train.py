"""The Train tab over fabricated runs: table, charts, panes, at both sizes."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Callable
from typing import Any

import pytest

from workbench.store.runs import Run
from workbench.tui.app import WorkbenchApp
from workbench.tui.train import polling

HOSTILE = "\x1b[31mred\x1b[0m [b]bold[/b] [link=x]y \x1b]0;title\x07 \x9b2J \u202egnp"


async def test_table_shows_every_run(
    make_run: Any, size: tuple[int, int], until: Any, text_of: Any, train_tab: Any
) -> None:
    make_run("alpha", steps=600, max_steps=600, loss=1.25, eval_loss=1.5)
    make_run("beta", state="running", steps=10, max_steps=600, eta_seconds=3700.0, tokens_per_second=12345.0)
    make_run("gamma", state="lost", steps=3)
    make_run("delta", state="failed", error={"title": "T", "message": "m", "where": "w", "hint": "h"})
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "alpha" in text_of(app))
        text = text_of(app)
        lines = {
            name: line for line in text.splitlines() for name in ("alpha", "beta", "gamma") if name in line
        }
        assert "finished" in lines["alpha"] and "600/600" in lines["alpha"] and "1.2500" in lines["alpha"]
        assert "clm" in lines["alpha"] and "1.5000" in lines["alpha"]
        assert "running" in lines["beta"] and "1h 01m" in lines["beta"] and "10/600" in lines["beta"]
        assert "lost" in lines["gamma"]
        assert "failed" in text
        assert "4 runs, 1 running" in text.splitlines()[0]
        # The newest is on top and under the cursor.
        assert train_tab(app).selected == "delta"


async def test_cursor_filter_and_sort(
    make_run: Any, size: tuple[int, int], until: Any, text_of: Any, train_tab: Any
) -> None:
    for index, name in enumerate(["one", "two", "three"]):
        make_run(name, steps=10 + index, loss=float(index))
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "three")
        await pilot.press("j", "down")
        assert train_tab(app).selected == "one"
        await pilot.press("k")
        assert train_tab(app).selected == "two"
        await pilot.press("slash", *"thr")
        await until(pilot, lambda: [row.name for row in train_tab(app).shown] == ["three"])
        assert train_tab(app).selected == "three"
        await pilot.press("enter")
        assert train_tab(app).table.has_focus
        await pilot.press("escape")
        await until(pilot, lambda: len(train_tab(app).shown) == 3)
        await pilot.press("o")
        assert [row.name for row in train_tab(app).shown] == ["one", "three", "two"]
        assert "run▼" in text_of(app)
        await pilot.press("O")
        assert [row.name for row in train_tab(app).shown] == ["two", "three", "one"]
        await pilot.press("o", "o", "o")
        assert train_tab(app).order == "loss"
        assert [row.name for row in train_tab(app).shown] == ["one", "two", "three"]


async def test_charts_of_one_run(make_run: Any, size: tuple[int, int], until: Any, train_tab: Any) -> None:
    make_run("solo", steps=20)
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: train_tab(app).grid)
        grid = train_tab(app).grid
        await until(pilot, lambda: grid.charts[0].series_keys == ["loss\0solo", "eval_loss\0solo"])
        assert len(grid.charts) == (1 if size[0] == 80 else 5)
        await pilot.press("y")
        assert all(chart.log_y for chart in grid.charts)
        await pilot.press("s")
        assert all(chart.smoothing == 0.6 for chart in grid.charts)
        for label, kind in (("tokens", "count"), ("time", "duration"), ("step", "count")):
            await pilot.press("x")
            assert grid.charts[0].x_label == label and grid.charts[0].x_kind == kind
            await until(pilot, lambda: grid.charts[0].series_keys)
        if size[0] == 80:
            await pilot.press("right_square_bracket")
            await until(pilot, lambda: grid.charts[0].title == "eval_loss")
            await pilot.press("left_square_bracket")
        await pilot.press("enter")
        await until(pilot, lambda: grid.charts[0].has_focus)
        await pilot.press("enter")
        await until(pilot, lambda: not train_tab(app).query_one("#runs").display)
        await until(pilot, lambda: grid.charts[0].size.height >= size[1] - 3)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: grid.charts[0].title == "eval_loss" and grid.charts[0].has_focus)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: train_tab(app).table.has_focus)
        assert train_tab(app).query_one("#runs").display


async def test_overlay_and_baseline(
    make_run: Any, size: tuple[int, int], until: Any, text_of: Any, train_tab: Any
) -> None:
    make_run("base", "training.learning_rate=1e-3", steps=20)
    make_run("other", "training.learning_rate=3e-3", steps=20)
    make_run("third", steps=20)
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: train_tab(app).grid)
        grid = train_tab(app).grid
        await until(pilot, lambda: grid.charts and len(grid.charts[0].series_keys) == 2)
        await pilot.press("space", "j", "space", "j", "p")
        names = ["loss\0third", "loss\0other", "loss\0base"]
        await until(pilot, lambda: sorted(grid.charts[0].series_keys) == sorted(names))
        drawn = {entry.run: entry for entry in grid.drawn}
        assert drawn["base"].dashed and not drawn["other"].dashed
        assert len({entry.colour for entry in grid.drawn}) == 3
        lines = text_of(app).splitlines()
        assert any("● " in line and "other" in line for line in lines)
        assert any("◌ " in line and "base" in line for line in lines)
        # The recipe of another run is shown against the baseline.
        await pilot.press("k", "r")
        pane = train_tab(app).pane_lines("recipe")
        await until(pilot, lambda: "Difference to the baseline base" in pane.text)
        assert "training.learning_rate" in pane.text.split("\n")[1] and "0.003" in pane.text.split("\n")[1]
        await pilot.press("c", "U", "j", "p")
        await until(pilot, lambda: [entry.run for entry in grid.drawn] == ["base"])
        assert not grid.drawn[0].dashed


async def test_live(
    make_run: Any, until: Any, text_of: Any, train_tab: Any, add_metrics: Callable[[Run, int, int], None]
) -> None:
    run = make_run("live", state="running", steps=10, max_steps=600)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: train_tab(app).grid)
        grid = train_tab(app).grid
        await until(pilot, lambda: grid.charts[0].series_keys)
        series = grid.charts[0]._series["loss\0live"]
        assert series.x.length == 10
        add_metrics(run, 11, 30)
        status = run.status()
        status.step = 30
        status.write(run.status_path)
        await until(pilot, lambda: grid.charts[0]._series["loss\0live"].x.length == 30)
        # Appended, not drawn from the start.
        assert grid.charts[0]._series["loss\0live"] is series
        await until(pilot, lambda: "30/600" in text_of(app))
        make_run("newcomer")
        await until(pilot, lambda: "newcomer" in text_of(app))
        assert train_tab(app).selected == "live"
        shutil.rmtree(run.path)
        await until(pilot, lambda: "live" not in text_of(app))
        await until(pilot, lambda: train_tab(app).selected == "newcomer")


async def test_metrics_of_ten_thousand_steps_and_a_resume(make_run: Any, until: Any, train_tab: Any) -> None:
    run = make_run("long", steps=10_000)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: train_tab(app).grid)
        grid = train_tab(app).grid
        await until(pilot, lambda: grid.charts[0]._series["loss\0long"].x.length == 10_000)
        with run.metrics_path.open("a") as file:
            file.write(json.dumps({"event": "resume", "step": 5000}) + "\n")
        await until(pilot, lambda: grid.charts[0]._series["loss\0long"].x.length == 5000)


async def test_panes(make_run: Any, size: tuple[int, int], until: Any, train_tab: Any) -> None:
    error = {
        "title": "Training",
        "message": "the loss is not finite",
        "where": "step 7",
        "hint": "less of it",
    }
    run = make_run("boom", state="failed", steps=7, max_steps=10, error=error)
    run.log_path.write_bytes(b"first\nepoch 1\repoch 2\rlast state\nTraceback (most recent call last)\n")
    samples = [{"step": 5, "prompt": "The ", "text": "old"}, {"step": 7, "prompt": "A ", "text": "new\nline"}]
    run.samples_path.write_text("not json\n" + "".join(f"{json.dumps(sample)}\n" for sample in samples))
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: train_tab(app).table)
        tab = train_tab(app)
        await until(pilot, lambda: tab.selected == "boom")
        await pilot.press("l", "i")
        await until(pilot, lambda: "the loss is not finite" in tab.pane_lines("info").text)
        for part in ("where: step 7", "try:   less", "R tries again", "7 of 10", str(run.path)):
            assert part in tab.pane_lines("info").text
        await pilot.press("l")
        await until(pilot, lambda: "Traceback" in tab.pane_lines("log").text)
        assert tab.pane_lines("log").text.split("\n")[:2] == ["first", "last state"]
        with run.log_path.open("a") as file:
            file.write("one more line\n")
        await until(pilot, lambda: "one more line" in tab.pane_lines("log").text)
        await pilot.press("m")
        await until(pilot, lambda: "The old" in tab.pane_lines("samples").text)
        assert tab.pane_lines("samples").text.split("\n") == [
            "step 7",
            "  A new",
            "  line",
            "step 5",
            "  The old",
        ]
        await pilot.press("r")
        await until(pilot, lambda: "max_steps" in tab.pane_lines("recipe").text)
        await pilot.press("g")
        await until(pilot, lambda: "CPU" in tab.pane_lines("machine").text)
        assert "free for" in tab.pane_lines("machine").text
        # Only what is open is on screen.
        assert [lines.display for lines in tab.query_one("#pane").children].count(True) == 1
        await pilot.press("g")
        await until(pilot, lambda: tab.pane_lines("machine").has_focus)
        await pilot.press("escape")
        assert tab.table.has_focus


async def test_hostile_text_is_shown_literally(
    make_run: Any, size: tuple[int, int], until: Any, text_of: Any, train_tab: Any
) -> None:
    run = make_run(
        "evil", state="failed", error={"title": "T", "message": HOSTILE, "where": HOSTILE, "hint": ""}
    )
    odd = run.path.with_name("o[b]dd\x1b[2J\n\udcff")
    shutil.copytree(run.path, odd)
    for folder in (run.path, odd):
        (folder / "train.log").write_bytes(HOSTILE.encode() + b"\xff\xfe\n")
        (folder / "samples.jsonl").write_text(
            json.dumps({"step": 1, "prompt": HOSTILE, "text": HOSTILE}) + "\n"
        )
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: train_tab(app).table)
        tab = train_tab(app)
        await until(pilot, lambda: len(tab.rows) == 2)
        for run_name in [row.name for row in tab.shown]:
            tab.selected = run_name
            for key in "ilmr":
                await pilot.press(key)
                pane = tab.pane_lines({"i": "info", "l": "log", "m": "samples", "r": "recipe"}[key])
                tab._poller.poke()
                await until(pilot, lambda pane=pane: pane.text)
                await pilot.pause()
                text = text_of(app)
                assert not any(char in text for char in "\x1b\x07\x9b\u202e\udcff")
                text.encode("utf-8")
            await pilot.press("l")
            await until(pilot, lambda: "red [b]bold[/b] [link=x]y" in tab.pane_lines("log").text)
            await pilot.press("m")
            await until(pilot, lambda: "␛[31mred␛[0m [b]bold[/b]" in tab.pane_lines("samples").text)
        assert "o[b]dd␛[2J␊" in text_of(app)


async def test_empty_and_preparing(make_run: Any, size: tuple[int, int], until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "No runs yet." in text_of(app))
        assert "Press n" in text_of(app) and "quickstart" in text_of(app)
        progress = {"what": "tokenising", "done": 50, "total": 200}
        make_run("early", state="preparing", progress=progress)
        await until(pilot, lambda: "25%  50 of 200" in text_of(app))
        make_run("gone", state="lost")
        await until(pilot, lambda: "gone" in text_of(app))
        await pilot.press("home")
        await until(pilot, lambda: "R goes on from the last checkpoint" in text_of(app))


async def test_choosing_metrics(make_run: Any, until: Any, text_of: Any, train_tab: Any) -> None:
    make_run("solo", steps=20)
    app = WorkbenchApp()
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: train_tab(app).grid)
        grid = train_tab(app).grid
        await until(pilot, lambda: grid.charts[0].series_keys)
        await pilot.press("v")
        await until(pilot, lambda: "space shows or hides" in text_of(app))
        await pilot.press("space", "down", "space", "escape")
        await until(pilot, lambda: grid.on_screen == ("learning_rate", "grad_norm", "tokens_per_second"))
        await until(pilot, lambda: all(chart.series_keys for chart in grid.charts))


async def test_initial_run_is_selected(make_run: Any, until: Any, train_tab: Any) -> None:
    make_run("wanted", steps=3)
    make_run("newer", steps=3)
    app = WorkbenchApp("wanted")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "wanted")


async def test_mouse(make_run: Any, until: Any, train_tab: Any) -> None:
    make_run("one", steps=3)
    make_run("two", steps=3)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "two")
        await pilot.click("RunTable", offset=(8, 2))
        assert train_tab(app).selected == "one"
        await pilot.click("RunTable", offset=(6, 0))
        assert train_tab(app).order == "name"
        await pilot.click("#short-strip", offset=(16, 0))
        assert train_tab(app).pane_open
        await pilot.click("#tabs", offset=(3, 0))
        assert app.tab == "build"


@pytest.mark.parametrize("tab", ["build", "data", "playground", "rank"])
async def test_closing_while_a_tab_is_being_made(tab: str) -> None:
    for _ in range(3):
        app = WorkbenchApp()
        async with app.run_test(size=(80, 24)):
            app.tab = tab


async def test_unreadable_home_is_one_notification(
    until: Any, text_of: Any, train_tab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> list[Run]:
        raise PermissionError(errno.EACCES, "no", "/some/home/runs")

    monkeypatch.setattr(polling, "list_runs", refuse)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: "where:" in text_of(app))
        assert "permission denied" in text_of(app) and "/some/home/runs" in text_of(app)
        assert len(app._notifications) == 1


async def test_a_finished_run_has_no_metrics_once_they_were_looked_for(
    make_run: Any, until: Any, text_of: Any, train_tab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("bare")
    make_run("full", steps=3)
    read = polling.SeriesReader.read
    held = threading.Event()

    def late(*args: Any) -> Any:
        return read(*args) if held.is_set() else ([], (), False)

    monkeypatch.setattr(polling.SeriesReader, "read", late)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "full" in text_of(app) and train_tab(app).selected == "full")
        await pilot.press("j")
        assert "bare: finished" not in text_of(app)
        held.set()
        await until(pilot, lambda: "It logged no metrics of these names" in text_of(app))
        await pilot.press("k")
        await until(pilot, lambda: train_tab(app).grid.charts[0].series_keys)
        assert "It logged no metrics" not in text_of(app)


async def test_damaged_files(make_run: Any, until: Any, text_of: Any, train_tab: Any) -> None:
    run = make_run("hurt", steps=3)
    run.status_path.write_text('{"state": [1], "step": "x", "loss": "y", "error": 3, "progress": 7}')
    run.recipe_path.write_text("training:\n  learning_rat: 3\n")
    run.metrics_path.write_text('{"step": 1, "loss": 1}\ngarbage\n{"step": 2, "loss": null}\n')
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "hurt" in text_of(app))
        await pilot.press("i")
        await pilot.press("r")
        pane = train_tab(app).pane_lines("recipe")
        await until(pilot, lambda: "there is no key “learning_rat”" in pane.text)
        assert "did you mean training.learning_rate?" in pane.text
        await pilot.press("c")
        await until(pilot, lambda: train_tab(app).grid.charts[0].series_keys)
