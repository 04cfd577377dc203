"""A reward model in the Playground: chosen once, it scores the answers of all columns beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from playing import play
from scripted_catalog import choice
from scripted_model import ScriptedModel

from workbench.errors import ServerError
from workbench.tui.playground import judging
from workbench.tui.rank.choice_screen import ChoiceScreen


class Judge(ScriptedModel):
    """Scores by length, and refuses what is as long as its patience."""

    def __init__(self) -> None:
        super().__init__(lambda request, index: "nothing")
        self.asked: list[tuple[Any, list[str]]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def score(self, prompt: Any, completions: Sequence[str]) -> list[float]:
        self.meanwhile()
        self.asked.append((prompt, list(completions)))
        if any("too long" in text for text in completions):
            raise ServerError("answer 1 is too long", where="judge")
        return [len(text) / 10 for text in completions]


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "choice_of", choice)
    monkeypatch.setattr(judging, "_reward_runs", lambda: ["judge"])


async def test_answers_are_scored_and_the_next_ones_without_asking_again() -> None:
    judge = Judge()
    smol = ScriptedModel(lambda request, index: f"answer {len(request.messages)}")
    async with play({"smol": smol, "judge": judge}) as playing:
        await playing.send("Why?")
        await playing.done()
        await playing.press("escape", "J")
        await playing.until_screen(ChoiceScreen)
        await playing.press("enter")
        await playing.until_shown("score +0.80")
        assert judge.asked == [([{"role": "user", "content": "Why?"}], ["answer 1"])]
        await playing.press("enter")
        await playing.send("And then?")
        await playing.done()
        assert not playing.tab.column.scores
        await playing.press("escape", "J")
        await playing.until(lambda: len(judge.asked) == 2)
        await playing.until_shown("score +0.80")
        assert [message["content"] for message in judge.asked[1][0]] == ["Why?", "answer 1", "And then?"]


async def test_scores_that_come_late_do_not_stand_beside_other_answers() -> None:
    judge = Judge()
    async with play({"smol": ScriptedModel(["the first"]), "judge": judge}) as playing:
        await playing.send("Why?")
        await playing.done()
        (chain,) = playing.tab.column.chains.values()
        judge.meanwhile = lambda: setattr(chain, "text", "asked again, by the same number")
        playing.tab._judge("judge")
        await playing.until(lambda: bool(judge.asked) and not playing.tab.working)
        assert not playing.tab.column.scores


async def test_a_refusal_is_shown_and_a_model_that_scores_nothing_is_told_of() -> None:
    async with play(
        {"smol": ScriptedModel(lambda request, index: "far too long"), "judge": Judge()}
    ) as playing:
        await playing.send("Why?")
        await playing.done()
        await playing.press("escape", "J")
        await playing.until_screen(ChoiceScreen)
        await playing.press("enter")
        await playing.until_shown("answer 1 is too long")
        assert not playing.tab.column.scores and not playing.tab.working
        playing.tab._judge("smol")
        await playing.until_shown("gives no scores")
