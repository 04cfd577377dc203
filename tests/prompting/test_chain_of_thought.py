"""Chain of thought: what the model is asked at each stage, and what comes out of it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest
from scripted_model import ScriptedModel, last_text

from workbench.errors import PromptError, ServerError
from workbench.inference.generation import Delta, Request, Sampling, Usage
from workbench.prompting.answers import Answer, extract
from workbench.prompting.composition import build
from workbench.prompting.prompts import load_prompt
from workbench.prompting.structured import response_format_of
from workbench.prompting.technique import Session, Task

TASK = Task(
    "Eggs?",
    ({"role": "system", "content": "S"}, {"role": "user", "content": "Eggs?"}),
    Sampling(temperature=0.7, max_tokens=300),
    answer=Answer(kind="number"),
)


def in_two_stages(request: Request, index: int) -> str:
    """Reasons first, and answers when it is asked for the answer."""
    if "Therefore" in last_text(request):
        reasoning = str(request.messages[-2]["content"])
        return f"{reasoning.split()[-1].rstrip('.')} eggs, not 99."
    return f"There are 12 and {index} more, so {12 + index}."


async def test_the_second_stage_asks_each_chain_for_its_answer() -> None:
    model = ScriptedModel(in_two_stages)
    session = Session(model)
    outcomes = await build("cot").run(replace(TASK, logprobs=0), session, samples=3)
    assert [outcome.answer for outcome in outcomes] == ["12", "13", "14"]
    first, *second = model.requests
    assert (first.n, first.sampling.temperature) == (3, 0.7)
    assert last_text(first) == "Eggs?\n\nLet's think step by step."
    assert [request.n for request in second] == [1, 1, 1]
    assert [request.sampling for request in second] == [Sampling(temperature=0.0, max_tokens=64)] * 3
    assert [message["role"] for message in second[0].messages] == ["system", "user", "assistant", "user"]
    assert last_text(second[0]) == "Therefore, the answer (arabic numerals) is"
    assert outcomes[1].text == (
        "There are 12 and 1 more, so 13.\n\nTherefore, the answer (arabic numerals) is\n13 eggs, not 99."
    )
    assert outcomes[1].logprob == -0.5 * 12 and outcomes[1].logprob_tokens == 12
    asked = sum(step.content["completion_tokens"] for step in session.trace.steps if step.kind == "request")
    assert sum((outcome.usage for outcome in outcomes), Usage()).completion_tokens == asked
    assert [step.chain for step in session.trace.steps if step.kind == "extraction"] == [0, 1, 2]


async def test_one_stage_finds_the_answer_in_the_reasoning() -> None:
    model = ScriptedModel(["3 of 4 remain. The answer is 3 (of 4)."])
    [outcome] = await build([{"cot": {"stages": 1, "trigger": "Think!"}}]).run(TASK, Session(model))
    assert outcome.answer == "3" and len(model.requests) == 1
    assert last_text(model.requests[0]) == "Eggs?\n\nThink!"


@pytest.mark.parametrize(
    ("answer", "trigger"),
    [
        ({"kind": "number"}, "Therefore, the answer (arabic numerals) is"),
        ({"kind": "yes_no"}, "Therefore, the answer (Yes or No) is"),
        ({"kind": "choice"}, "Therefore, among A through E, the answer is"),
        ({"kind": "choice", "options": ["x1", "x2", "x3"]}, "Therefore, the answer (x1, x2 or x3) is"),
        ({"kind": "text"}, "Therefore, the answer is"),
        ({"kind": "json"}, "Therefore, the answer as JSON is"),
        (None, "Therefore, the answer is"),
    ],
)
async def test_the_answer_is_asked_for_by_its_kind(answer: dict[str, Any] | None, trigger: str) -> None:
    model = ScriptedModel(["Reasoning.", "Yes"])
    kind = None if answer is None else Answer.model_validate(answer)
    await build("cot").run(replace(TASK, answer=kind), Session(model))
    assert last_text(model.requests[1]) == trigger


async def test_reasoning_is_free_and_the_answer_is_held_to_the_schema() -> None:
    schema = response_format_of({"type": "object", "required": ["eggs"]}, "x")
    task = replace(TASK, response_format=schema, answer=Answer(kind="json", field="eggs"))
    model = ScriptedModel(["Twelve is a dozen.", '{"eggs": 12}'])
    [outcome] = await build("cot").run(task, Session(model))
    assert [request.response_format for request in model.requests] == [None, schema]
    assert model.requests[1].sampling.max_tokens == 300
    assert outcome.answer == "12" and "schema_problem" not in outcome.details
    with pytest.raises(PromptError, match="one stage"):
        await build([{"cot": {"stages": 1}}]).run(task, Session(model))


async def test_what_streams_reads_like_the_outcomes() -> None:
    texts = {0: "", 1: ""}

    def hear(delta: Delta) -> None:
        texts[delta.index] += delta.text

    outcomes = await build("cot").run(TASK, Session(ScriptedModel(in_two_stages), on_delta=hear), samples=2)
    assert [texts[0], texts[1]] == [outcome.text for outcome in outcomes]


async def test_few_shot_reasoning_is_left_to_the_demonstrations() -> None:
    prompt = load_prompt("gsm8k-few-shot-cot")
    model = ScriptedModel(["8 * 2 = 16 and 16 - 1 = 15.\nThe answer is 15."])
    [outcome] = await prompt.technique().run(prompt.render({"question": "How many?"}), Session(model))
    [request] = model.requests
    answers = [message["content"] for message in request.messages if message["role"] == "assistant"]
    assert len(answers) == 8
    assert answers[0].endswith("72 - 45 = 27 rolls are left.\nThe answer is 27.")
    assert last_text(request) == "How many?"
    assert outcome.answer == "15"


def test_the_rationales_of_the_preset_are_right_and_reach_their_answers() -> None:
    few = load_prompt("gsm8k-few-shot-cot").technique().specification()[0]["few_shot"]
    number = r"\d+(?:\.\d+)?"
    for example in few["examples"]:
        rationale = example["rationale"]
        steps = re.findall(rf"({number}(?: [*/+-] {number})+) = \$?({number})", rationale)
        assert len(steps) >= 2 and len(steps) == rationale.count(" = ")
        assert all(eval(left) == float(right) for left, right in steps)
        assert extract(rationale, Answer(kind="number")) == example["answer"]


async def test_a_failing_second_stage_ends_the_others() -> None:
    def script(request: Request, index: int) -> str:
        if "Therefore" in last_text(request):
            if "so 13" in str(request.messages[-2]["content"]):
                raise ServerError("no slot left", where="scripted")
            return "a very long answer " * 50
        return in_two_stages(request, index)

    model = ScriptedModel(script)
    with pytest.raises(ServerError, match="no slot left"):
        await build("cot").run(TASK, Session(model), samples=3)
    assert model.running == 0 and len(asyncio.all_tasks()) == 1


async def test_cancelling_leaves_no_request_running() -> None:
    model = ScriptedModel(lambda request, index: "word " * 30)
    running = asyncio.ensure_future(build("cot").run(TASK, Session(model), samples=4))
    while len(model.requests) < 5:
        await asyncio.sleep(0)
    assert model.running == 4
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (model.running, model.cancelled) == (0, 4)
    assert len(asyncio.all_tasks()) == 1
