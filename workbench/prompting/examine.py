"""Looking for the answer in an outcome, and whether it fits the JSON schema it was asked in."""

from __future__ import annotations

from workbench.prompting.answers import Answer, extract
from workbench.prompting.structured import problem
from workbench.prompting.technique import Outcome, Step, Task, Trace


def examine(
    outcome: Outcome, task: Task, trace: Trace, chain: int | None = None, text: str | None = None
) -> None:
    """Fill in the outcome's `answer`, and `details["schema_problem"]` where it does not fit; once only.

    The answer is looked for in `text` where it stands apart from the rest of the outcome's.
    """
    if outcome.examined:
        return
    outcome.examined = True
    text = outcome.text if text is None else text
    if task.answer is not None and outcome.answer is None:
        outcome.answer = extract(text, task.answer)
        found = {"kind": task.answer.kind, "answer": outcome.answer}
        trace.add(Step("extraction", outcome.answer or "no answer found", found, chain))
    if task.response_format is not None:
        unfit = problem(text, task.response_format)
        if unfit:
            outcome.details["schema_problem"] = unfit
            trace.add(Step("note", "The answer does not fit its schema", {"problem": unfit}, chain))


def answer_wanted(task: Task) -> Answer:
    """What to look for where a technique needs an answer and the prompt does not say: JSON, or text."""
    if task.answer is not None:
        return task.answer
    structured = task.response_format is not None and task.response_format.get("type") != "text"
    return Answer(kind="json" if structured else "text")
