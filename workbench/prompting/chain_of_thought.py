"""Chain of thought: reasoning before the answer (Kojima et al. 2022; Wei et al. 2022)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from workbench.errors import PromptError
from workbench.inference.generation import Delta
from workbench.prompting.answers import Answer
from workbench.prompting.examine import answer_wanted, examine
from workbench.prompting.technique import Outcome, Session, Task, Technique
from workbench.prompting.together import together
from workbench.prompting.zero_shot import outcomes_of
from workbench.recipe.section import Section

TRIGGER = "Let's think step by step."


class ChainOfThoughtSettings(Section):
    """How the model is brought to reason, and to answer after it."""

    method: Literal["zero_shot", "few_shot"] | None = Field(
        None,
        description="zero_shot asks for the reasoning and then for the answer; few_shot leaves it to the "
        "demonstrations to show how. Empty: few_shot where there are any.",
    )
    trigger: str = Field(TRIGGER, description="Zero-shot: what makes the model reason.")
    stages: Literal[1, 2] = Field(
        2,
        description="Zero-shot: 2 asks for the answer in a request of its own, 1 finds it in the reasoning.",
    )
    answer_trigger: str | None = Field(
        None, description="What asks for the answer. Empty: what fits the kind of answer."
    )
    answer_tokens: int = Field(64, ge=1, description="Most tokens of the answer after the reasoning.")


class ChainOfThought:
    """Reasoning first. In two stages, the answer is drawn greedily from each finished chain of reasoning."""

    name = "cot"
    Settings = ChainOfThoughtSettings

    def __init__(self, settings: ChainOfThoughtSettings, inner: Technique) -> None:
        self.settings, self.inner = settings, inner

    async def run(self, task: Task, session: Session, samples: int = 1) -> list[Outcome]:
        """Reason, then answer. Raises `PromptError`, and what the technique inside raises."""
        settings = self.settings
        if settings.method == "few_shot":
            return await self.inner.run(task, session, samples)
        if settings.stages == 1:
            if task.response_format is not None:
                raise PromptError(
                    "reasoning in one stage cannot be held to a response_format",
                    where="cot",
                    hint="stages: 2 reasons freely and holds the answer to it",
                )
            return await self.inner.run(task.with_last_turn(self._triggered), session, samples)
        reasoning = replace(task.with_last_turn(self._triggered), response_format=None)
        chains = await self.inner.run(reasoning, replace(session, on_outcome=None), samples)
        return await together(
            self._answered(outcome, task, session, chain) for chain, outcome in enumerate(chains)
        )

    def _triggered(self, asked: str) -> str:
        return f"{asked}\n\n{self.settings.trigger}"

    async def _answered(self, reasoned: Outcome, task: Task, session: Session, chain: int) -> Outcome:
        """The second stage of one chain."""
        wanted = answer_wanted(task)
        trigger = self.settings.answer_trigger or answer_trigger(wanted)
        # What is held to a schema must be let finish.
        most = task.sampling.max_tokens if task.response_format else self.settings.answer_tokens
        final = replace(
            task.with_messages(*reasoned.messages, {"role": "user", "content": trigger}),
            sampling=replace(task.sampling, temperature=0.0, max_tokens=most),
        )
        if session.on_delta is not None:
            session.on_delta(Delta(chain, f"\n\n{trigger}\n"))
        answered = outcomes_of(final, await session.ask(final.request(), "Answer after reasoning", chain))[0]
        # An answer that fits no mark of its own is one by its place.
        stated = answered.text if task.response_format else f"The answer is: {answered.text}"
        examine(answered, replace(task, answer=wanted), session.trace, chain, stated)
        outcome = replace(
            answered,
            text=f"{reasoned.text}\n\n{trigger}\n{answered.text}",
            logprob=_sum(reasoned.logprob, answered.logprob),
            logprob_tokens=reasoned.logprob_tokens + answered.logprob_tokens,
            usage=reasoned.usage + answered.usage,
            details={**reasoned.details, **answered.details, "reasoning": reasoned.text},
        )
        if session.on_outcome is not None:
            session.on_outcome(chain, outcome)
        return outcome


def answer_trigger(answer: Answer) -> str:
    """What asks for an answer of a kind after the reasoning (after Kojima et al. 2022, appendix)."""
    match answer.kind:
        case "number":
            return "Therefore, the answer (arabic numerals) is"
        case "yes_no":
            return "Therefore, the answer (Yes or No) is"
        case "choice" if answer.lettered:
            return f"Therefore, among {answer.options[0]} through {answer.options[-1]}, the answer is"
        case "choice":
            return f"Therefore, the answer ({', '.join(answer.options[:-1])} or {answer.options[-1]}) is"
        case "json":
            return "Therefore, the answer as JSON is"
        case "text":
            return "Therefore, the answer is"


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
