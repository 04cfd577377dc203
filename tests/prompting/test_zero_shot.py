"""Zero-shot, and what every technique has from its session: the trace, the numbers, cancellation."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from scripted_model import ScriptedModel

from workbench.inference.generation import Completion, Delta, Sampling, Usage
from workbench.prompting.answers import Answer
from workbench.prompting.composition import build
from workbench.prompting.structured import response_format_of
from workbench.prompting.technique import Outcome, Session, Step, Task
from workbench.prompting.zero_shot import ZeroShot, shares

TASK = Task("2 + 2?", ({"role": "user", "content": "2 + 2?"},), Sampling(seed=1))


async def test_all_samples_are_one_request() -> None:
    model = ScriptedModel(lambda request, index: f"It is {index}.")
    session = Session(model)
    outcomes = await ZeroShot().run(replace(TASK, logprobs=0), session, samples=3)
    assert [outcome.text for outcome in outcomes] == ["It is 0.", "It is 1.", "It is 2."]
    assert [(request.n, request.messages, request.sampling.seed) for request in model.requests] == [
        (3, TASK.messages, 1)
    ]
    assert [outcome.logprob for outcome in outcomes] == [-1.5] * 3
    assert [outcome.logprob_tokens for outcome in outcomes] == [3] * 3
    assert outcomes[1].messages == (*TASK.messages, {"role": "assistant", "content": "It is 1."})
    assert sum((outcome.usage for outcome in outcomes), Usage()) == Usage(3, 9, 0)
    [step] = session.trace.steps
    assert step.kind == "request" and step.content["completion_tokens"] == 9
    json.dumps(step.content)


async def test_outcomes_and_text_are_told_while_they_come() -> None:
    model = ScriptedModel(["a b c", "a"])
    deltas: list[Delta] = []
    told: list[tuple[int, str, bool]] = []  # with whether text was still to come

    def hear(chain: int, outcome: Outcome) -> None:
        told.append((chain, outcome.text, len(deltas) < 6))

    session = Session(model, on_delta=deltas.append, on_outcome=hear)
    await ZeroShot().run(TASK, session, samples=2)
    assert told == [(1, "a", True), (0, "a b c", False)]
    assert "".join(delta.text for delta in deltas if delta.index == 0) == "a b c"


@pytest.mark.parametrize(
    ("texts", "tokens", "expected"),
    [(["a", "a"], 3, [2, 1]), (["aaa", ""], 10, [8, 2]), (["x"], 7, [7]), (["a", "b", "c"], 0, [0, 0, 0])],
)
def test_shares_of_the_usage_add_up(texts: list[str], tokens: int, expected: list[int]) -> None:
    found = shares(Usage(5, tokens, 2), [Completion(text=text) for text in texts])
    assert [usage.completion_tokens for usage in found] == expected
    assert sum(found, Usage()) == Usage(5, tokens, 2)


async def test_a_cancelled_request_is_kept_with_what_had_come() -> None:
    model = ScriptedModel(["one two three four five six", "one"])
    steps: list[Step] = []
    session = Session(model, on_delta=lambda delta: None)
    session.trace.listener = steps.append
    running = asyncio.ensure_future(ZeroShot().run(TASK, session, samples=2))
    for _ in range(5):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (model.running, model.cancelled) == (0, 1)
    [step] = steps
    assert step.title == "Answer, cancelled"
    first, second = step.content["completions"]
    assert "one two three four five six".startswith(first["text"]) and first["text"]
    assert (first["finish_reason"], second["finish_reason"]) == ("cancelled", "stop")


def test_shifted_sessions_tell_the_right_chains() -> None:
    deltas: list[int] = []
    chains: list[int] = []
    outer = Session(
        ScriptedModel([]),
        on_delta=lambda delta: deltas.append(delta.index),
        on_outcome=lambda chain, outcome: chains.append(chain),
    )
    inner = outer.shifted(10).shifted(5)
    inner.trace.add(Step("note", "of a chain", {}, 2))
    inner.trace.add(Step("note", "of all", {}))
    assert inner.on_delta is not None and inner.on_outcome is not None
    inner.on_delta(Delta(1))
    inner.on_outcome(3, Outcome(""))
    assert [step.chain for step in outer.trace.steps] == [17, None]
    assert (deltas, chains) == ([16], [18])


async def test_answers_are_extracted_and_held_to_the_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    task = replace(
        TASK, response_format=response_format_of(schema, "x"), answer=Answer(kind="json", field="n")
    )
    model = ScriptedModel(['{"n": 4}', '{"n": "four"}', "four"])
    session = Session(model)
    outcomes = await build("zero-shot").run(task, session, samples=3)
    assert [outcome.answer for outcome in outcomes] == ["4", "four", None]
    problems = [outcome.details.get("schema_problem", "") for outcome in outcomes]
    assert problems[0] == "" and "not of type 'integer'" in problems[1] and "not JSON" in problems[2]
    notes = [step for step in session.trace.steps if step.kind == "note"]
    assert [(note.title, note.chain) for note in notes] == [
        ("The answer does not fit its schema", 1),
        ("The answer does not fit its schema", 2),
    ]
    assert model.requests[0].response_format == task.response_format
