"""The form that begins a session of ranking, by keys only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scripted_catalog import ScriptedCatalog, saying

from workbench.prompting.ranking import control
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Session, create_session, find_session
from workbench.tui.app import WorkbenchApp
from workbench.tui.playground.backstage import Backstage
from workbench.tui.rank.completing_paths import complete
from workbench.tui.rank.new_session import NewSessionScreen


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """The sessions whose answers would be generated now."""
    found: list[Session] = []
    monkeypatch.setattr(control, "ensure_generating", found.append)
    return found


async def test_a_session_is_begun_by_keys_and_checked_as_it_is_typed(
    tmp_path: Path,
    size: tuple[int, int],
    started: list[Session],
    until: Any,
    text_of: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions.jsonl").write_text(
        "".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(5))
    )
    with Database() as database:
        create_session(database, "ranking-1")
    made: list[str | None] = []
    (tmp_path / "mute").mkdir()
    (tmp_path / "mute" / "config.json").write_text('{"architectures": ["BertModel"]}')
    models = {name: saying("a") for name in (str(tmp_path / "mute"), "first", "second")}
    backstage = Backstage(lambda: ScriptedCatalog(models))
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        app.push_screen(NewSessionScreen(backstage), made.append)
        await until(pilot, lambda: "second" in text_of(app), "the models")
        assert "ranking-2" in text_of(app) and "1 to be mended" in text_of(app)
        assert "text; needed" in text_of(app)
        assert "mute" not in text_of(app), "a model that does not write is none to tick"
        await pilot.press("enter", "n", "o")
        await until(pilot, lambda: "there is no such file" in text_of(app))
        await pilot.press("backspace", "backspace", "q", "tab")
        await until(pilot, lambda: "5 prompts from the column “prompt”" in text_of(app))
        assert "questions.jsonl" in text_of(app)
        # To the models: without one, with one, with two.
        await pilot.press("enter", "tab", "j", "j")
        await until(pilot, lambda: "box: the server cannot be reached" in text_of(app))
        await pilot.press("k", "k")
        await until(pilot, lambda: "tick a model, or name one" in text_of(app))
        await pilot.press("space")
        await until(pilot, lambda: "1 answer to a prompt: 2 to 9 can be ranked" in text_of(app))
        await pilot.press("ctrl+j")
        assert not started and made == []
        await pilot.press("k", "k", "space")
        await until(pilot, lambda: "2 answers to each, 10 in all" in text_of(app))
        assert "ctrl+j begins it" in text_of(app)
        # What was searched for is in sight when the search is left.
        await pilot.press("slash", *"order.seed", "enter", "escape")
        await until(pilot, lambda: "answers" in text_of(app) and "▸  seed" in text_of(app))
        await pilot.press("ctrl+j")
        await until(pilot, lambda: made)
    backstage.close()
    assert made == ["ranking-2"] and [session.name for session in started] == made
    with Database() as database:
        settings = find_session(database, "ranking-2").settings
    assert settings.models == ("first", "second")
    assert settings.sampling == ({"max_tokens": 512, "temperature": 0.8},)


def test_paths_are_completed_as_far_as_they_are_clear(tmp_path: Path) -> None:
    for name in ("prompts-a.jsonl", "prompts-b.csv", "prompts.exe", ".hidden.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "other").mkdir()
    assert complete(f"{tmp_path}/p") == (f"{tmp_path}/prompts-", ["prompts-a.jsonl", "prompts-b.csv"])
    assert complete(f"{tmp_path}/prompts-a") == (f"{tmp_path}/prompts-a.jsonl", ["prompts-a.jsonl"])
    assert complete(f"{tmp_path}/o") == (f"{tmp_path}/other/", ["other/"])
    assert complete(f"{tmp_path}/") == (f"{tmp_path}/", ["other/", "prompts-a.jsonl", "prompts-b.csv"])
    assert complete(f"{tmp_path}/x") == (f"{tmp_path}/x", [])
    assert complete("/nowhere/at/all/x") == ("/nowhere/at/all/x", [])
