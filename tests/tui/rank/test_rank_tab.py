"""The list of sessions: importing, exporting, deleting, figures, who ranks, and a run on it all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ranking_screen import ranker_of, tab_of, view_of
from ranking_sessions import session_of

from workbench.paths import user_presets_dir
from workbench.store.preferences.annotator import Annotator
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import list_sessions
from workbench.tui.app import WorkbenchApp
from workbench.tui.rank.annotator_name import annotator_name
from workbench.tui.rank.figures_screen import FiguresScreen
from workbench.tui.settings import save_settings
from workbench.tui.train.new_run import NewRunScreen

RANKING = {"prompt": "p", "completions": ["one", "two", "three"], "ranks": [1, 2, 2], "annotator": "ann"}


def ranked(database: Database, name: str = "tests", items: int = 6) -> None:
    """A session in which two annotators agree."""
    session = session_of(database, items, ("strong", "middle", "weak"), name=name)
    for person in ("eve", "bob"):
        annotator = Annotator(database, session, person)
        while (task := annotator.next()) is not None:
            order = {"strong": 1, "middle": 2, "weak": 3}
            annotator.commit(task, ranks=[order[answer.model] for answer in task.answers], milliseconds=2500)


async def test_a_file_becomes_a_session(
    rank_app: WorkbenchApp, until: Any, text_of: Any, tmp_path: Path
) -> None:
    path = tmp_path / "some votes.jsonl"
    path.write_text(json.dumps(RANKING) + "\n" + json.dumps({**RANKING, "prompt": "q", "ranks": None}) + "\n")
    answers = [{"prompt": p, "completion": f"{m} of {p}", "model": m} for m in "xyz" for p in "pq"]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(record) + "\n" for record in answers))
    async with rank_app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: "Rank answers of models by keys" in text_of(rank_app))
        for name, words in (
            ("none.jsonl", "the file cannot be read"),
            ("answers.jsonl", "> answers"),
            (path.name, "> some-votes"),
        ):
            await pilot.press("o")
            begun = str(tmp_path / name).removesuffix("l")
            tab_of(rank_app).question.insert_text_at_cursor(begun)
            await pilot.press("l" if name == "none.jsonl" else "tab", "enter")
            await until(pilot, lambda words=words: words in text_of(rank_app))
        row = tab_of(rank_app).row
        assert row is not None and (row.prompts, row.ready, dict(row.ranked)) == (2, 2, {"ann": 1})
        assert "from a file" in text_of(rank_app)


async def test_export_asks_before_it_writes_over_a_file(
    rank_app: WorkbenchApp,
    database: Database,
    until: Any,
    text_of: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ranked(database)
    async with rank_app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: tab_of(rank_app).row is not None)
        for turn, answer in enumerate(("", "y")):
            await pilot.press("w")
            await until(pilot, lambda: "what TRL trains on" in text_of(rank_app))
            await pilot.press("j", "enter")
            await until(pilot, lambda: tab_of(rank_app).question.asked)
            await pilot.press("enter")
            if answer:
                await until(pilot, lambda: "Write over it?" in text_of(rank_app))
                await pilot.press(answer)
            await until(pilot, lambda told=turn + 1: len(rank_app._notifications) == told)
        lines = (tmp_path / "tests-pairs.jsonl").read_text().splitlines()
        assert len(lines) == 36 and set(json.loads(lines[0])) == {"prompt", "chosen", "rejected"}


async def test_deleting_asks_first(
    rank_app: WorkbenchApp, database: Database, until: Any, text_of: Any
) -> None:
    ranked(database, "gone", 2)
    ranked(database, "kept", 2)
    async with rank_app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: tab_of(rank_app).row is not None)
        await pilot.press("j", "D")
        await until(pilot, lambda: "Delete gone?" in text_of(rank_app))
        assert "4 rankings by bob 2, eve 2" in text_of(rank_app)
        await pilot.press("n", "D", "y")
        await until(pilot, lambda: [row.name for row in tab_of(rank_app).table.rows] == ["kept"])
        assert [session.name for session in list_sessions(database)] == ["kept"]


async def test_figures_hide_which_model_is_which(
    rank_app: WorkbenchApp, database: Database, until: Any, text_of: Any
) -> None:
    ranked(database)
    async with rank_app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: tab_of(rank_app).row is not None)
        await pilot.press("i")
        await until(pilot, lambda: "α of ranks" in text_of(rank_app))
        screen = text_of(rank_app)
        assert "1.000" in screen and "2s each (median)" in screen and "nothing came again yet" in screen
        await pilot.press("v")
        await until(pilot, lambda: "Plackett–Luce" in text_of(rank_app))
        assert "model 1" in text_of(rank_app) and "strong" not in text_of(rank_app)
        await pilot.press("m")
        await until(pilot, lambda: "strong" in text_of(rank_app))
        assert text_of(rank_app).index("strong") < text_of(rank_app).index("weak")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(rank_app.screen, FiguresScreen))


async def test_a_run_on_what_was_ranked(
    rank_app: WorkbenchApp, database: Database, until: Any, text_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.tui.rank import handing_over

    ranked(database)
    monkeypatch.setattr(
        handing_over, "PRESETS", (("no-such", "none", "nothing"), ("mine", "mine", "something"))
    )
    from workbench.tui.rank import session_actions

    monkeypatch.setattr(session_actions, "PRESETS", handing_over.PRESETS)
    folder = user_presets_dir() / "runs"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("model:\n  family: llama\n")
    async with rank_app.run_test(size=(100, 30), notifications=True) as pilot:
        await until(pilot, lambda: tab_of(rank_app).row is not None)
        await pilot.press("t", "enter")
        await until(pilot, lambda: "there is no preset “no-such”" in text_of(rank_app))
        await pilot.press("t", "j", "enter")
        await until(pilot, lambda: isinstance(rank_app.screen, NewRunScreen))
        (path,) = (folder.parent.parent / "rankings").iterdir()
        await until(pilot, lambda: path.name in text_of(rank_app).replace("\n", ""))
        records = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(records) == 12
        assert {record["annotator"] for record in records} == {"eve", "bob"}


async def test_nothing_to_train_on_is_said(
    rank_app: WorkbenchApp, database: Database, until: Any, text_of: Any
) -> None:
    session_of(database, 2)
    async with rank_app.run_test(size=(100, 30), notifications=True) as pilot:
        await until(pilot, lambda: tab_of(rank_app).row is not None)
        await pilot.press("t", "enter")
        await until(pilot, lambda: "nothing was ranked yet" in text_of(rank_app))


async def test_the_annotator_can_be_changed_and_is_remembered(
    rank_app: WorkbenchApp,
    database: Database,
    until: Any,
    text_of: Any,
    opened: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session_of(database, 2)
    async with rank_app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("1", "2", "3", "enter")
        await until(pilot, lambda: "eve · 1 done" in text_of(rank_app))
        # The old name is only shown: enter keeps it, and what is typed takes its place.
        await pilot.press("a")
        await until(pilot, lambda: "eve" in text_of(rank_app).splitlines()[-2])
        await pilot.press("enter")
        await until(pilot, lambda: view_of(rank_app).has_focus)
        assert ranker_of(rank_app).name == "eve"
        await pilot.press("a", *"ann", "enter")
        await until(pilot, lambda: "ann · 0 done" in text_of(rank_app))
        assert ranker_of(rank_app).name == "ann"
    assert annotator_name() == "eve", "the environment comes first"
    monkeypatch.delenv("WORKBENCH_ANNOTATOR")
    save_settings(annotator="zoë")
    assert annotator_name() == "zoë"


async def test_a_database_that_cannot_be_read_is_said_once(
    rank_app: WorkbenchApp, home: Path, until: Any, text_of: Any
) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "preferences.db").write_bytes(b"nothing of ours" * 100)
    async with rank_app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: "damaged or no database" in text_of(rank_app))
        tab_of(rank_app).read()
        await pilot.pause()
        assert len(rank_app._notifications) == 1
