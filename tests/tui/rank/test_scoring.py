"""A reward model that sorts what is to be ranked: what it is least sure of first, scores only on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ranking_screen import ranker_of, tab_of
from ranking_sessions import session_of
from scripted_catalog import ScriptedCatalog

from workbench.errors import ServerError
from workbench.store.preferences.contents import Prompt
from workbench.store.preferences.database import Database
from workbench.tui.app import WorkbenchApp
from workbench.tui.playground.setup import ModelChoice
from workbench.tui.rank.scoring import Scorer, asked


class Judge:
    """Is sure of all prompts but one."""

    def __init__(self, unsure: str) -> None:
        self.unsure = unsure
        self.asked: list[tuple[str, int]] = []

    async def score(
        self, prompt: str | Sequence[Mapping[str, Any]], completions: Sequence[str]
    ) -> list[float]:
        assert isinstance(prompt, str)
        self.asked.append((prompt, len(completions)))
        if self.unsure == "fails" and len(self.asked) in (2, *range(4, 20)):
            raise ServerError("the engine is gone")
        return [0.0 if prompt == self.unsure else 5.0 * number for number in range(len(completions))]


async def scored_by(app: WorkbenchApp, pilot: Any, until: Any, judge: Judge) -> None:
    """Sort by a judge."""
    catalog = ScriptedCatalog({"judge": judge}, loading=["loading the weights"])  # type: ignore[dict-item]
    tab = tab_of(app)
    tab._scorer = Scorer(tab.desk, tab.post_message, lambda: catalog)
    tab._start_scoring(ModelChoice("local", "judge"), "tests")
    await until(pilot, lambda: len(judge.asked) >= 3)


async def test_what_is_least_sure_comes_first(
    rank_app: WorkbenchApp, database: Database, opened: Any, until: Any, text_of: Any
) -> None:
    session_of(database, 20)
    judge = Judge("prompt 17")
    async with rank_app.run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await scored_by(rank_app, pilot, until, judge)
        await until(pilot, lambda: "sorted by judge, 20 scored" in text_of(rank_app))
        assert [count for _, count in judge.asked] == [4] * 20
        # What is on screen stays; the scores are not shown, for they would sway whoever ranks.
        assert "› prompt 0" in text_of(rank_app) and "score " not in text_of(rank_app)
        await pilot.press("1", "2", "3", "enter")
        await until(pilot, lambda: "› prompt 17" in text_of(rank_app))
        await pilot.press("r")
        await until(pilot, lambda: "show its scores" in text_of(rank_app))
        await pilot.press("enter")
        await until(pilot, lambda: text_of(rank_app).count("score +0.00") == 4)
        await pilot.press("s", "r")
        await until(pilot, lambda: "hide its scores" in text_of(rank_app))
        await pilot.press("j", "enter")
        await until(pilot, lambda: "sorted by" not in text_of(rank_app))
        assert ranker_of(rank_app).scores.count == 0 and "score " not in text_of(rank_app)


async def test_a_reward_model_that_fails_is_said_and_what_it_scored_counts(
    rank_app: WorkbenchApp, database: Database, opened: Any, until: Any, text_of: Any
) -> None:
    session_of(database, 16)
    async with rank_app.run_test(size=(100, 30), notifications=True) as pilot:
        await opened(pilot)
        await scored_by(rank_app, pilot, until, Judge("fails"))
        await until(pilot, lambda: "the engine is gone" in text_of(rank_app))
        assert "2 scored, 10 not" in text_of(rank_app)


def test_how_a_prompt_is_asked() -> None:
    assert asked(Prompt("text")) == "text"
    system, user = {"role": "system", "content": "be short"}, {"role": "user", "content": "text"}
    assert asked(Prompt("text", system="be short")) == [system, user]
    assert asked(Prompt([user], system="be short")) == [system, user]
