"""From a finished run into the Playground and into a blind ranking, against what it began with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_catalog import ScriptedCatalog

from workbench.prompting.ranking import control, old_new
from workbench.prompting.ranking.status import GenerationStatus
from workbench.store.preferences.contents import Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Session, list_sessions
from workbench.tui.app import WorkbenchApp
from workbench.tui.tabs.playground import PlaygroundTab
from workbench.tui.tabs.rank import RankTab


async def test_a_finished_run_is_asked_and_ranked_beside_what_it_began_with(
    make_run: Callable[..., Any],
    until: Any,
    text_of: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "base").mkdir()
    run = make_run("tuned", f"model.model_name_or_path={tmp_path / 'base'}", steps=3)
    run.final_path.mkdir()
    started: list[Session] = []
    monkeypatch.setattr(PlaygroundTab, "make_catalog", lambda: ScriptedCatalog({}))

    def ensure(session: Session, **_: Any) -> GenerationStatus:
        started.append(session)
        return GenerationStatus("running")

    monkeypatch.setattr(control, "ensure_generating", ensure)
    monkeypatch.setattr(old_new, "held_out_prompts", lambda *_: [Prompt("one"), Prompt("two")])
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "tuned" in text_of(app), "the run")
        await pilot.press("a")
        await until(pilot, lambda: app.tab == "playground")
        home = app.screen_stack[0]
        await until(pilot, lambda: len(home.query_one(PlaygroundTab).columns) == 2)
        models = [column.setup.model for column in home.query_one(PlaygroundTab).columns]
        assert [model.label for model in models if model is not None] == ["base", "tuned"]
        app.tab = "train"
        for _ in range(2):
            # The second time it is the same session.
            await until(pilot, lambda: app.tab == "train")
            await pilot.press("b")
            await until(pilot, lambda: home.query_one(RankTab).open_session == "tuned-old-new")
            await until(pilot, lambda: app.tab == "rank")
            app.tab = "train"
    with Database() as database:
        (session,) = list_sessions(database)
    assert session.settings.models == ("base", "tuned")
    assert {one.name for one in started} == {"tuned-old-new"}
