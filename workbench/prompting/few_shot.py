"""Few-shot prompting (Brown et al. 2020): solved examples before the input."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import PromptError
from workbench.prompting import templates
from workbench.prompting.examples import Example
from workbench.prompting.few_shot_settings import FewShotSettings
from workbench.prompting.pool import Pool
from workbench.prompting.technique import Outcome, Session, Step, Task, Technique


@dataclass(frozen=True)
class Shown:
    """A demonstration as it is written."""

    example: Example
    score: float | None
    input: str
    output: str

    def record(self) -> dict[str, Any]:
        """It as plain JSON for the trace."""
        score = {} if self.score is None else {"score": self.score}
        return {
            "id": self.example.id,
            "row": self.example.row,
            "input": self.input,
            "output": self.output,
            **score,
        }


class FewShot:
    """Shows demonstrations before the input of the technique inside; never the input's own row."""

    name = "few_shot"
    Settings = FewShotSettings

    def __init__(self, settings: FewShotSettings, inner: Technique) -> None:
        self.settings, self.inner = settings, inner
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        for template in filter(None, (settings.input, settings.output)):
            templates.variables_in(template, "few_shot")

    async def run(self, task: Task, session: Session, samples: int = 1) -> list[Outcome]:
        """Choose once, then run the technique inside. Raises `PromptError`, `DataError`, `ServerError`."""
        settings = self.settings
        shown, left_out = await self._choose(task, session)
        if settings.choose == "nearest" and settings.nearest_last:
            shown.reverse()
        chosen = settings.in_words()
        content = {"chosen": chosen, "demonstrations": [one.record() for one in shown], "left_out": left_out}
        session.trace.add(Step("demonstrations", f"{len(shown)} demonstrations, {chosen}", content))
        if settings.style == "turns":
            task = _as_turns(task, shown)
        else:
            task = _in_one_message(task, shown, settings.question_prefix, settings.answer_prefix)
        return await self.inner.run(task, session, samples)

    async def _choose(self, task: Task, session: Session) -> tuple[list[Shown], list[str]]:
        """The demonstrations, in order of choice, and the ids of those that are the input itself."""
        async with self._opening:
            if self._pool is None:
                self._pool = await Pool.open(self.settings)
        ranked = await self._pool.ranked(task, session.embedder)
        shown: list[Shown] = []
        left_out: list[str] = []
        last = str(task.messages[-1]["content"])
        for example, score in ranked:
            one = self._written(example, score, task)
            if is_own(example, task) or one.input == last:
                left_out.append(example.id)
                continue
            shown.append(one)
            if len(shown) == self.settings.count and self.settings.choose != "by_hand":
                break
        if not shown:
            raise PromptError("there is no demonstration beside the input itself", where=self._pool.where)
        return shown, left_out

    def _written(self, example: Example, score: float | None, task: Task) -> Shown:
        settings, where = self.settings, f"example {example.id}"
        columns = {
            **example.columns,
            "question": example.question,
            "answer": example.answer,
            "rationale": example.rationale,
        }
        if settings.input is not None:
            asked = templates.render(settings.input, columns, where)
        elif task.user_turn is not None:
            asked = task.user_turn(example.question, example.columns)
        else:
            asked = example.question
        return Shown(example, score, asked, self._output(example, columns, where))

    def _output(self, example: Example, columns: Mapping[str, Any], where: str) -> str:
        if self.settings.output is not None:
            return templates.render(self.settings.output, columns, where)
        if not self.settings.rationales:
            return example.answer
        if not example.rationale:
            raise PromptError(
                "the example has no rationale to show",
                where=where,
                hint="name its column in columns.rationale, or set rationales: false",
            )
        return f"{example.rationale}\nThe answer is {example.answer}."


def is_own(example: Example, task: Task) -> bool:
    """Whether an example is the input itself: by its id, or because it asks the same."""
    same_row = task.id != "" and example.id == task.id
    return same_row or _plain(example.question) == _plain(task.question)


def _plain(question: str) -> str:
    return " ".join(question.casefold().split())


def _as_turns(task: Task, shown: Sequence[Shown]) -> Task:
    """The demonstrations as turns before all but the system message."""
    system = [message for message in task.messages[:1] if message["role"] == "system"]
    turns = [
        {"role": role, "content": text}
        for one in shown
        for role, text in (("user", one.input), ("assistant", one.output))
    ]
    return task.with_messages(*system, *turns, *task.messages[len(system) :])


def _in_one_message(task: Task, shown: Sequence[Shown], question: str, answer: str) -> Task:
    """The demonstrations as text before the input, which ends where the answer begins."""
    before = "".join(f"{question}{one.input}\n{answer}{one.output}\n\n" for one in shown)
    return task.with_last_turn(lambda asked: f"{before}{question}{asked}\n{answer}".rstrip())
