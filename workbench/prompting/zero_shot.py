"""Zero-shot prompting: the prompt as it is, in one request for all samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from workbench.inference.generation import Completion, Response, Usage
from workbench.prompting.technique import Outcome, Session, Task
from workbench.recipe.section import Section


class ZeroShotSettings(Section):
    """There is nothing to set."""


class ZeroShot:
    """Sends the prompt; what all other techniques come down to."""

    name = "zero_shot"
    Settings = ZeroShotSettings

    def __init__(self, settings: ZeroShotSettings | None = None) -> None:
        self.settings = settings or ZeroShotSettings()

    async def run(self, task: Task, session: Session, samples: int = 1) -> list[Outcome]:
        """One request with `n` answers, so that the server reads the prompt once. Raises `ServerError`."""
        tell = session.on_outcome

        def told(completion: Completion) -> None:
            if tell is not None:
                tell(completion.index, outcome_of(task, completion, Usage(0, len(completion.logprobs), 0)))

        response = await session.ask(task.request(samples), "Answer", 0, told if tell is not None else None)
        return outcomes_of(task, response)


def outcomes_of(task: Task, response: Response) -> list[Outcome]:
    """Each answer as an outcome; their usage adds up to the response's."""
    usages = shares(response.usage, response.completions)
    return [
        outcome_of(task, completion, usage)
        for completion, usage in zip(response.completions, usages, strict=True)
    ]


def outcome_of(task: Task, completion: Completion, usage: Usage) -> Outcome:
    """An answer as an outcome, with the conversation that led to it."""
    return Outcome(
        completion.text,
        logprob=completion.total_logprob,
        messages=(*task.messages, completion.as_message()),
        usage=usage,
        logprob_tokens=len(completion.logprobs),
        details={"finish_reason": completion.finish_reason},
    )


def shares(usage: Usage, completions: Sequence[Completion]) -> list[Usage]:
    """What each answer of a request cost. The first bears the prompt, which is read once; written tokens go
    by the answers' tokens where they are known, else by their length."""
    weights = [len(completion.logprobs) for completion in completions]
    if not all(weights):
        weights = [len(completion.text) + 1 for completion in completions]
    ends = [round(usage.completion_tokens * end / max(1, sum(weights))) for end in accumulate(weights)]
    written = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    return [
        Usage(usage.prompt_tokens, tokens, usage.cached_tokens) if number == 0 else Usage(0, tokens, 0)
        for number, tokens in enumerate(written)
    ]
