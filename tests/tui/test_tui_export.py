"""Exporting a finished run from the Train tab: format and folder are chosen, what came of it is said."""

from __future__ import annotations

from typing import Any

import pytest

from workbench import paths
from workbench.errors import StorageError
from workbench.store.inspector import Inspector
from workbench.tui.app import WorkbenchApp
from workbench.tui.train.export_screen import ExportScreen


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the process would be asked, instead of starting one; a folder called `full` fails."""
    requests: list[dict[str, Any]] = []

    def request(self: Inspector, do: str, *, progress: Any = None, **arguments: Any) -> dict[str, Any]:
        requests.append({"do": do, **arguments})
        if arguments["to"].endswith("full"):
            raise StorageError("the disk is full", where=arguments["to"])
        return {"folder": arguments["to"], "files": [{"bytes": 2048}], "notes": ["something is other"]}

    monkeypatch.setattr(Inspector, "request", request)
    return requests


async def test_a_finished_run_is_exported(
    make_run: Any, until: Any, text_of: Any, train_tab: Any, asked: Any
) -> None:
    run = make_run("done", steps=3)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "done")
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, ExportScreen))
        await until(pilot, lambda: "a folder that transformers loads" in text_of(app))
        await pilot.press("down", "down")
        await until(pilot, lambda: "one file for llama.cpp" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: "Exported done: 2.0 KiB" in text_of(app))
        assert "something is other" in text_of(app)
    folder = str(paths.home() / "exports" / "done-gguf")
    wanted = {"name": str(run.path), "format": "gguf", "dtype": "q8_0", "to": folder, "force": False}
    assert asked == [{"do": "export", **wanted}]


async def test_a_folder_is_typed_and_an_error_is_shown(
    make_run: Any, until: Any, text_of: Any, train_tab: Any, asked: Any
) -> None:
    make_run("done", steps=3)
    app = WorkbenchApp()
    async with app.run_test(size=(200, 60), notifications=True) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "done")
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, ExportScreen))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ExportScreen))
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, ExportScreen))
        await pilot.press("tab", "ctrl+u", *"/full", "shift+tab", "down", "down", "down", "tab", "enter")
        await until(pilot, lambda: "the disk is full" in text_of(app))
    # A typed folder stays when another format is chosen.
    assert [one["to"] for one in asked] == ["/full"] and asked[0]["dtype"] == "f16"


async def test_only_finished_runs_are_exported(
    make_run: Any, until: Any, text_of: Any, train_tab: Any, asked: Any
) -> None:
    make_run("busy", state="running", steps=3)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "busy")
        await pilot.press("E")
        await pilot.pause()
        assert not isinstance(app.screen, ExportScreen)
