"""A reward model beside the conversations: it scores the answers of all columns."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.tui.notices import notify
from workbench.tui.playground.catalog import choice_of
from workbench.tui.playground.column import Column
from workbench.tui.playground.documents import Documents
from workbench.tui.rank.choice_screen import ChoiceScreen
from workbench.tui.text import reveal_control

if TYPE_CHECKING:
    from workbench.inference.generation import Message

OTHER = "/other"


@dataclass(frozen=True)
class ToJudge:
    """The answers of a column to what it was asked last, by the numbers of their chains."""

    column: Column
    prompt: list[Message]
    answers: dict[int, str]


class Judging(Documents):
    """Has answers scored, where the model that scores was chosen once."""

    judge = ""
    """The reward model that was chosen last, as one names it."""

    def action_judge(self) -> None:
        """Score the answers in sight; asks for the reward model first, and again once they are scored."""
        if self.busy:
            notify(self.app, "an answer is still on its way; esc cancels it")
        elif self.judge and not all(one.column.scores for one in self._to_judge()):
            self._judge(self.judge)
        else:
            self.in_thread(_reward_runs, self._offer_judges)

    def _offer_judges(self, names: list[str]) -> None:
        choices = [(name, reveal_control(name), "a reward model of yours") for name in names]
        choices.append((OTHER, "another", "a folder, or SERVER/NAME, or URL NAME"))
        screen = ChoiceScreen("Score the answers", choices)
        self.app.push_screen(
            screen, lambda name: self._ask("judge", "") if name == OTHER else self._judge(name)
        )

    def _answer_judge(self, name: str) -> None:
        self._judge(name)

    def _to_judge(self) -> list[ToJudge]:
        found = []
        for column in self.columns:
            answers = {chain.number: chain.text for chain in column.chains.values() if chain.text.strip()}
            prompt = list(column.messages)
            while prompt and prompt[-1].get("role") == "assistant":
                prompt.pop()
            if column.state == "done" and prompt and answers:
                found.append(ToJudge(column, prompt, answers))
        return found

    def _judge(self, name: str | None) -> None:
        if not name:
            return
        wanted = self._to_judge()

        def say(words: str) -> None:
            self.call_later(self.work_on, words)

        async def ask() -> list[tuple[ToJudge, Sequence[float]]]:
            choice = await asyncio.to_thread(choice_of, name)
            model: Any = await self.backstage.catalog.open(choice, say)
            if not hasattr(model, "score"):
                raise ModelError(f"{choice.label} gives no scores", hint="choose a reward model")
            return [(one, await model.score(one.prompt, list(one.answers.values()))) for one in wanted]

        def take(found: list[tuple[ToJudge, Sequence[float]]]) -> None:
            self.judge = name
            for one, scores in found:
                # What was asked meanwhile has other answers, by the same numbers.
                chains = one.column.chains
                if all(n in chains and chains[n].text == text for n, text in one.answers.items()):
                    one.column.scores = dict(zip(one.answers, scores, strict=True))
                    one.column.revision += 1
            self.work_on("")

        self.work_on("scoring the answers")
        self.behind(self.backstage.run(ask()), take, lambda: self.work_on(""))


def _reward_runs() -> list[str]:
    from workbench.store.runs import list_runs

    return [run.name for run in list_runs() if run.status().objective == "reward" and run.final_path.is_dir()]
