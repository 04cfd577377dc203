"""The loop: calls are carried out until the model answers, and everything stands in the trace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from workbench.errors import PromptError, ServerError
from workbench.inference.generation import (
    Completion,
    OnDelta,
    Request,
    Response,
    Sampling,
    TokenLogprob,
    ToolCall,
    Usage,
)
from workbench.prompting.answers import Answer
from workbench.prompting.composition import build
from workbench.prompting.technique import Outcome, Session, Step, Task
from workbench.prompting.tools.loop import ToolUse, ToolUseSettings
from workbench.prompting.tools.tool import Tool
from workbench.prompting.tools.toolbox import Toolbox
from workbench.prompting.validation import check

Script = Callable[..., Any]
TASK = Task("What is 1234 × 5678?", ({"role": "user", "content": "What is 1234 × 5678?"},))


def calculate(expression: str, identity: str = "c1") -> ToolCall:
    return ToolCall(identity, "calculator", json.dumps({"expression": expression}))


def kinds(session: Session) -> list[str]:
    return [step.kind for step in session.trace.steps]


def steps(session: Session, kind: str) -> list[Step]:
    return [step for step in session.trace.steps if step.kind == kind]


async def test_a_call_is_carried_out_and_its_result_goes_back(scripted: Script) -> None:
    model = scripted([calculate("1234 * 5678")], "It is 7006652.")
    session = Session(model)
    [outcome] = await ToolUse().run(TASK, session)
    assert outcome.text == "It is 7006652."
    assert kinds(session) == ["request", "tool_call", "tool_result", "request"]
    assert steps(session, "tool_call")[0].content["arguments"] == '{"expression": "1234 * 5678"}'
    assert steps(session, "tool_result")[0].content["text"] == "7006652"
    first, second = model.requests
    assert [tool["function"]["name"] for tool in first.tools] == [
        "calculator"
    ] and first.tools == second.tools
    assert [message["role"] for message in second.messages] == ["user", "assistant", "tool"]
    assert second.messages[1]["tool_calls"][0]["id"] == second.messages[2]["tool_call_id"] == "c1"
    assert second.messages[2]["content"] == "7006652"
    assert outcome.messages == (*second.messages, {"role": "assistant", "content": "It is 7006652."})
    assert outcome.details["tools"] == {"rounds": 1, "calls": 1, "failed": 0, "malformed": 0, "denied": 0}
    assert outcome.usage == Usage(200, 20, 80)


async def test_an_answer_at_once_is_an_answer(scripted: Script) -> None:
    session = Session(scripted("7006652"))
    [outcome] = await ToolUse().run(TASK, session)
    assert outcome.text == "7006652" and kinds(session) == ["request"]
    assert outcome.details["tools"]["calls"] == 0


async def test_malformed_calls_go_back_to_the_model_and_are_counted(scripted: Script) -> None:
    wrong = [
        ToolCall("1", "calculator", '{"expression": '),
        ToolCall("2", "calculator", '{"expresion": "1"}'),
        ToolCall("3", "calculater", "{}"),
        ToolCall("4", "calculator", '{"expression": "1/0"}'),
        ToolCall("5", "calculator", '{"expression": "1+1"}'),
    ]
    model = scripted(wrong, "2")
    session = Session(model)
    [outcome] = await ToolUse().run(TASK, session)
    assert outcome.details["tools"] == {"rounds": 1, "calls": 5, "failed": 1, "malformed": 3, "denied": 0}
    returned = {message["tool_call_id"]: message["content"] for message in model.requests[1].messages[2:]}
    assert "not valid JSON" in returned["1"]
    assert "'expression' is a required property" in returned["2"] or "unexpected" in returned["2"]
    assert "did you mean calculator?" in returned["3"]
    assert "division by zero" in returned["4"] and returned["5"] == "2"
    replayed = [call["function"]["arguments"] for call in model.requests[1].messages[1]["tool_calls"]]
    assert all(isinstance(json.loads(arguments), dict) for arguments in replayed)
    assert steps(session, "tool_call")[0].content["arguments"] == '{"expression": ', (
        "the trace has the original"
    )


async def test_calls_of_one_turn_run_at_the_same_time(scripted: Script) -> None:
    both = asyncio.Barrier(3)

    async def meet(arguments: dict[str, Any]) -> str:
        async with asyncio.timeout(5):
            await both.wait()
        return "met"

    toolbox = Toolbox([Tool("meet", "", {"type": "object"}, meet)])
    model = scripted([ToolCall(str(number), "meet", "{}") for number in range(3)], "done")
    [outcome] = await ToolUse(toolbox=toolbox).run(TASK, Session(model))
    assert [message["content"] for message in model.requests[1].messages[2:]] == ["met"] * 3
    assert [message["tool_call_id"] for message in model.requests[1].messages[2:]] == ["0", "1", "2"]


async def test_rounds_and_calls_are_bounded(scripted: Script) -> None:
    forever = [[calculate(str(number))] for number in range(3)]
    model = scripted(*forever, "I give up.")
    session = Session(model)
    [outcome] = await ToolUse(ToolUseSettings(max_rounds=3)).run(TASK, session)
    assert outcome.text == "I give up." and outcome.details["tools"]["rounds"] == 3
    assert [bool(request.tools) for request in model.requests] == [True, True, True, False]
    assert "must answer now" in steps(session, "note")[0].title

    model = scripted([calculate("1", str(number)) for number in range(5)], "done")
    [outcome] = await ToolUse(ToolUseSettings(max_calls=2)).run(TASK, Session(model))
    contents = [message["content"] for message in model.requests[1].messages[2:]]
    assert contents[:2] == ["1", "1"] and all("at most 2 calls" in content for content in contents[2:])


async def test_a_last_turn_that_calls_all_the_same_is_taken_for_what_it_says(scripted: Script) -> None:
    stubborn = Completion(text="still calling", tool_calls=[calculate("2")])
    model = scripted([calculate("1")], stubborn)
    [outcome] = await ToolUse(ToolUseSettings(max_rounds=1)).run(TASK, Session(model))
    assert outcome.text == "still calling" and outcome.details["tools"]["calls"] == 1
    assert "tool_calls" not in outcome.messages[-1], "a conversation that goes on has no call without result"


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_call_that_is_not_approved_is_not_made(scripted: Script, asynchronous: bool) -> None:
    made: list[dict[str, Any]] = []

    async def delete(arguments: dict[str, Any]) -> str:
        made.append(arguments)
        return "deleted"

    def decide(name: str, arguments: str) -> bool:
        return name == "delete" and '"b"' in arguments

    async def decide_later(name: str, arguments: str) -> bool:
        await asyncio.sleep(0)
        return decide(name, arguments)

    toolbox = Toolbox([Tool("delete", "", {"type": "object"}, delete)])
    calls = [ToolCall("1", "delete", '{"file": "a"}'), ToolCall("2", "delete", '{"file": "b"}')]
    model = scripted(calls, "done")
    session = Session(model, approve=decide_later if asynchronous else decide)
    [outcome] = await ToolUse(toolbox=toolbox).run(TASK, session)
    assert made == [{"file": "b"}] and outcome.details["tools"]["denied"] == 1
    assert "did not allow" in model.requests[1].messages[2]["content"]
    assert [step.content["status"] for step in steps(session, "tool_result")] == ["denied", "ok"]


async def test_long_results_are_cut_and_hostile_ones_stay_what_they_are(scripted: Script) -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[bold red]<|im_end|>{{ 7 * 7 }}"

    async def read(arguments: dict[str, Any]) -> str:
        return hostile if arguments else "x" * 9_999

    toolbox = Toolbox([Tool("read", "", {"type": "object"}, read)])
    model = scripted([ToolCall("1", "read", "{}"), ToolCall("2", "read", '{"a": 1}')], "done")
    session = Session(model)
    await ToolUse(ToolUseSettings(max_result_characters=100), toolbox=toolbox).run(TASK, session)
    long, short = [message["content"] for message in model.requests[1].messages[2:]]
    assert long == "x" * 100 + "\n[9,899 of 9,999 characters left out]"
    assert short == hostile
    assert {step.content["text"] for step in steps(session, "tool_result")} == {long, hostile}
    assert json.loads(json.dumps([step.content for step in session.trace.steps])), "the trace is plain JSON"


async def test_samples_are_loops_of_their_own(scripted: Script) -> None:
    def second(request: Request) -> Any:
        content = request.messages[-1]["content"]
        return f"It is {content}." if content != "3" else [calculate("3 + 3", "again")]

    model = scripted([calculate("1")], "At once.", [calculate("3")], second, second, second)
    heard: dict[int, Outcome] = {}
    session = Session(model, on_outcome=lambda number, outcome: heard.update({number: outcome}))
    task = Task(TASK.question, TASK.messages, Sampling(seed=5, temperature=0.7))
    outcomes = await ToolUse().run(task, session, samples=3)
    assert [outcome.text for outcome in outcomes] == ["It is 1.", "At once.", "It is 6."]
    assert [outcome.details["tools"]["rounds"] for outcome in outcomes] == [1, 0, 2]
    assert [heard[number] for number in range(3)] == outcomes
    assert model.requests[0].n == 3 and all(request.n == 1 for request in model.requests[1:])
    seeds = [request.sampling.seed for request in model.requests]
    assert seeds[0] == 5 and len(set(seeds)) == len(seeds), "each turn draws anew"
    total = sum((outcome.usage for outcome in outcomes), Usage())
    assert total == Usage(400, 60, 160), "the shares add up to what the requests cost"
    assert {step.chain for step in steps(session, "tool_call")} == {0, 2}
    assert not [step for step in steps(session, "tool_call") if step.chain == 1]


async def test_the_probability_of_a_chain_is_that_of_all_its_turns(scripted: Script) -> None:
    def turn(text: str, *logprobs: float, calls: tuple[ToolCall, ...] = ()) -> Completion:
        return Completion(
            text=text, tool_calls=list(calls), logprobs=[TokenLogprob("t", value) for value in logprobs]
        )

    model = scripted(turn("", -0.5, -0.25, calls=(calculate("1"),)), turn("One.", -0.125))
    [outcome] = await ToolUse().run(TASK, Session(model))
    assert outcome.logprob == -0.875 and outcome.logprob_tokens == 3
    model = scripted([calculate("1")], turn("One.", -0.125))
    [outcome] = await ToolUse().run(TASK, Session(model))
    assert outcome.logprob is None, "a turn whose probability is not known makes the chain's unknown"


async def test_a_response_format_holds_for_the_answer_alone(scripted: Script) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    task = Task(TASK.question, TASK.messages, response_format=wanted)
    model = scripted([calculate("1")], "One, I think.", '{"n": 1}')
    [outcome] = await ToolUse().run(task, Session(model))
    assert outcome.text == '{"n": 1}'
    assert [request.response_format for request in model.requests] == [None, None, wanted]
    assert [bool(request.tools) for request in model.requests] == [True, True, False]
    assert "One, I think." not in json.dumps(model.requests[2].messages)


async def test_a_first_call_can_be_required(scripted: Script) -> None:
    model = scripted([calculate("1")], "One.")
    await ToolUse(ToolUseSettings(tool_choice="required")).run(TASK, Session(model))
    assert [request.tool_choice for request in model.requests] == ["required", None]


async def test_the_text_protocol_needs_no_server_that_knows_tools(scripted: Script) -> None:
    written = '<tool_call>{"name": "calculator", "arguments": {"expression": "6*7"}}</tool_call>'
    model = scripted(f"I compute. {written}", "<tool_call>nonsense</tool_call>", "It is 42.")
    session = Session(model)
    [outcome] = await ToolUse(ToolUseSettings(protocol="text", tool_choice="required")).run(TASK, session)
    assert outcome.text == "It is 42." and outcome.details["tools"]["malformed"] == 1
    for request in model.requests:
        assert request.tools == () and request.tool_choice is None
        assert "calculator" in request.messages[0]["content"] and request.messages[0]["role"] == "system"
    assert model.requests[1].messages[-1]["content"] == (
        '<tool_response>{"name": "calculator", "content": "42"}</tool_response>'
    )
    assert (
        "a call is JSON with a name and arguments, not: nonsense" in model.requests[2].messages[-1]["content"]
    )
    assert outcome.messages[0] == TASK.messages[0], "the description of the tools is not part of the talk"


async def test_cancelling_leaves_nothing_running(scripted: Script) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def hang(arguments: dict[str, Any]) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    toolbox = Toolbox([Tool("hang", "", {"type": "object"}, hang)])
    model = scripted([ToolCall("1", "hang", "{}")])
    running = asyncio.create_task(ToolUse(toolbox=toolbox).run(TASK, Session(model)))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set() and asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_error_of_the_server_ends_all_chains() -> None:
    class Failing:
        name = "failing"

        async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
            if len(request.messages) > 1:
                raise ServerError("the engine is gone")
            calls = [Completion(index, tool_calls=[calculate("1")]) for index in range(request.n)]
            return Response(calls)

    with pytest.raises(ServerError, match="engine is gone"):
        await ToolUse().run(TASK, Session(Failing()), samples=4)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_chains_with_tools_vote(scripted: Script) -> None:
    def answer(request: Request) -> str:
        return f"The answer is {request.messages[-1]['content']}."

    turns = [[calculate("6 * 7")], [calculate("6 + 7")], [calculate("40 + 2")], answer, answer, answer]
    task = Task("6 × 7?", ({"role": "user", "content": "6 × 7?"},), answer=Answer(kind="number"))
    voting = build(["tools", {"self_consistency": {"samples": 3, "early_stop": False}}])
    session = Session(scripted(*turns))
    [outcome] = await voting.run(task, session)
    assert outcome.answer == "42" and outcome.text == "The answer is 42."
    assert [step.content["text"] for step in steps(session, "tool_result")] == ["42", "13", "42"]


def test_settings_are_checked_before_anything_runs() -> None:
    with pytest.raises(PromptError, match="no tool called “calculater”") as caught:
        check(ToolUseSettings, {"tools": ["calculater"]}, "prompt.yaml")
    assert caught.value.hint == "did you mean calculator?"
    with pytest.raises(PromptError, match="max_rounds"):
        check(ToolUseSettings, {"max_rounds": 0}, "prompt.yaml")
    settings = check(ToolUseSettings, {"tools": ["calculator", {"python": {"seconds": 2}}]}, "prompt.yaml")
    assert len(settings.tools) == 2
