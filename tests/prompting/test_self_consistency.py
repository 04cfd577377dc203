"""Self-consistency: the gain is the predicted one, stopping early changes no winner, nothing is left."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import binom, multinomial
from scripted_model import Script, ScriptedModel, last_text

from workbench.errors import PromptError, ServerError
from workbench.inference.generation import OnDelta, Request, Response, Sampling, Usage
from workbench.prompting.answers import Answer
from workbench.prompting.composition import build
from workbench.prompting.structured import response_format_of
from workbench.prompting.technique import Outcome, Session, Step, Task

TASK = Task("Eggs?", ({"role": "user", "content": "Eggs?"},), Sampling(seed=0), answer=Answer(kind="number"))


def by_chain(answers: Any) -> Script:
    """Each chain's own text, whatever round it runs in: the seed says how many were before."""
    return lambda request, index: str(answers[(request.sampling.seed or 0) + index])


async def vote(model: ScriptedModel, task: Task = TASK, **settings: Any) -> tuple[Outcome, list[Step]]:
    session = Session(model)
    [outcome] = await build([{"self_consistency": settings}]).run(task, session)
    return outcome, session.trace.steps


async def accuracy(values: list[str], chances: list[float], samples: int, trials: int) -> float:
    """How often the vote is right, the first value being right, over chains drawn at random."""
    draw = random.Random(20_240)
    model = ScriptedModel(
        lambda request, index: f"The answer is {draw.choices(values, chances)[0]}.", streams=False
    )
    technique = build([{"self_consistency": {"samples": samples}}])
    answers = [(await technique.run(TASK, Session(model)))[0].answer for _ in range(trials)]
    return answers.count(values[0]) / trials


async def test_with_one_wrong_answer_the_gain_is_the_binomial_one() -> None:
    trials, samples = 1200, 15
    predicted = float(binom.sf(samples // 2, samples, 0.6))
    assert predicted == pytest.approx(0.787, abs=0.001)
    error = math.sqrt(predicted * (1 - predicted) / trials)
    assert abs(await accuracy(["18", "9"], [0.6, 0.4], samples, trials) - predicted) < 3.5 * error


async def test_each_vote_is_the_majority_of_exactly_its_chains() -> None:
    # Two chains more or fewer move the accuracy by less than the error allowed above.
    draw, drawn = random.Random(7), list[str]()

    def script(request: Request, index: int) -> str:
        drawn.append(draw.choices(["18", "9"], [0.6, 0.4])[0])
        return f"The answer is {drawn[-1]}."

    model = ScriptedModel(script, streams=False)
    for early_stop in (False, True):
        technique = build([{"self_consistency": {"samples": 15, "early_stop": early_stop}}])
        for _ in range(100):
            drawn.clear()
            [outcome] = await technique.run(TASK, Session(model))
            votes = max(drawn.count("18"), drawn.count("9"))
            assert (drawn.count(str(outcome.answer)), outcome.details["finished"]) == (votes, len(drawn))
            # Either all were drawn, or the winner cannot be caught up with.
            assert len(drawn) == 15 or (early_stop and votes >= 8)


async def test_with_wrong_answers_spread_out_the_gain_is_the_multinomial_one() -> None:
    trials, samples, chances = 1200, 9, [0.6, 0.1, 0.1, 0.1, 0.1]
    predicted = 0.0
    for counts in itertools.product(range(samples + 1), repeat=len(chances)):
        if sum(counts) == samples and counts[0] == max(counts):
            # Of equal answers each is as likely to have come first.
            share = 1 / counts.count(counts[0])
            predicted += share * float(multinomial.pmf(counts, samples, chances))
    assert predicted > float(binom.sf(samples // 2, samples, 0.6)) + 0.15
    error = math.sqrt(predicted * (1 - predicted) / trials)
    assert (
        abs(await accuracy(["18", "9", "5", "27", "3"], chances, samples, trials) - predicted) < 3.5 * error
    )


async def test_stopping_early_never_changes_the_winner() -> None:
    saved = 0
    for answers in itertools.product(("1", "2", "3", "none"), repeat=5):
        whole, _ = await vote(ScriptedModel(by_chain(answers)), samples=5, early_stop=False)
        assert whole.details["finished"] == 5
        for round_size in (1, 2, 5):
            early, _ = await vote(ScriptedModel(by_chain(answers)), samples=5, round_size=round_size)
            assert early.answer == whole.answer, answers
            saved += 5 - early.details["finished"]
    assert saved > 1000


async def test_the_first_round_is_just_enough_and_one_request() -> None:
    model = ScriptedModel(lambda request, index: "The answer is 7.")
    outcome, steps = await vote(model, samples=16)
    assert [request.n for request in model.requests] == [9]
    assert model.requests[0].sampling.temperature == 0.7
    assert (outcome.answer, outcome.details["finished"], outcome.details["agreement"]) == ("7", 9, 1.0)
    assert (outcome.details["cancelled"], model.cancelled) == (0, 0)
    assert outcome.usage == Usage(1, 36, 0)
    assert steps[-1].title == "7 wins with 9 of 9 chains; 7 were not needed"


async def test_rounds_go_on_with_seeds_of_their_own() -> None:
    model = ScriptedModel(by_chain([2, 1, 3, 4, 2, 1, 1, 2]))
    outcome, steps = await vote(model, replace(TASK, sampling=Sampling(seed=0)), samples=8, round_size=2)
    assert [(request.n, request.sampling.seed) for request in model.requests] == [(5, 0), (2, 5), (1, 7)]
    assert outcome.answer == "2"
    assert outcome.details["answers"] == ["2", "1", "3", "4", "2", "1", "1", "2"]
    assert outcome.details["tied"] and "a tie, which the earliest chain decides" in steps[-1].title


async def test_without_early_stop_all_chains_are_one_request() -> None:
    model = ScriptedModel(lambda request, index: "7")
    outcome, _ = await vote(model, samples=16, early_stop=False)
    assert [request.n for request in model.requests] == [16]
    assert outcome.details["finished"] == 16


async def test_the_histogram_grows_as_chains_finish() -> None:
    answers = ["a long way to 5 . 5", "7", "then 7", "so it is 7", "and once more 5"]
    model = ScriptedModel(by_chain(answers))
    _, steps = await vote(model, samples=5, early_stop=False)
    live = [step for step in steps if step.kind == "vote"]
    assert [step.chain for step in live] == [1, 2, 3, 4, 0, None]
    assert [step.title for step in live[:2]] == ["7 leads with 1 of 1 chains", "7 leads with 2 of 2 chains"]
    assert [step.content["agreement"] for step in live] == [1.0, 1.0, 1.0, 0.75, 0.6, 0.6]
    assert [step.content["decided"] for step in live] == [False, False, True, True, True, True]


async def test_what_still_runs_is_cancelled_when_the_vote_is_decided() -> None:
    answers = ["7", "7", "on and on " * 20 + "8", "7", "on and on " * 20 + "8"]
    model = ScriptedModel(by_chain(answers))
    outcome, steps = await vote(model, samples=5, round_size=5)
    assert (outcome.answer, outcome.details["finished"], outcome.details["cancelled"]) == ("7", 3, 2)
    assert (model.cancelled, model.running) == (1, 0)
    assert len(asyncio.all_tasks()) == 1
    [request] = [step for step in steps if step.kind == "request"]
    assert request.title == "Answer, cancelled"
    reasons = [completion["finish_reason"] for completion in request.content["completions"]]
    assert reasons == ["stop", "stop", "cancelled", "stop", "cancelled"]


async def test_confidence_stops_sooner() -> None:
    model = ScriptedModel(lambda request, index: "The answer is 7.")
    outcome, _ = await vote(model, samples=40, confidence=0.95, round_size=4)
    assert [request.n for request in model.requests] == [4]
    assert outcome.details["finished"] == 4 and not outcome.details["decided"]


async def test_a_weighted_vote_goes_by_probability() -> None:
    def logprob(token: str) -> float:
        return -3.0 if "9" in token else -0.01

    model = ScriptedModel(by_chain(["is 7", "is 9", "is 9"]), logprob=logprob)
    outcome, _ = await vote(model, samples=3, vote="probability", early_stop=False)
    assert model.requests[0].logprobs == 0
    assert (outcome.answer, outcome.details["weighted"]) == ("7", True)
    geometric = [math.exp(-0.01), 2 * math.exp(-3.01 / 2)]
    shares = [found["share"] for found in outcome.details["votes"]]
    assert shares == pytest.approx([part / sum(geometric) for part in geometric])
    model = ScriptedModel(by_chain(["is 7", "is 9", "is 9"]), logprob=logprob)
    outcome, _ = await vote(model, samples=3, vote="probability", length_normalised=False)
    shares = [found["share"] for found in outcome.details["votes"]]
    whole = [math.exp(-0.02), 2 * math.exp(-3.01)]
    assert shares == pytest.approx([part / sum(whole) for part in whole])


async def test_a_server_without_log_probabilities_degrades_visibly() -> None:
    model = ScriptedModel(by_chain(["7", "9", "9"]), logprob=None)
    outcome, steps = await vote(model, samples=3, vote="probability")
    assert outcome.answer == "9" and not outcome.details["weighted"]
    assert steps[-1].title == "The server gives no log-probabilities, so every chain counts alike"


class OneAtATime(ScriptedModel):
    """A server that takes no notice of `n`."""

    async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
        return await super().generate(replace(request, n=min(request.n, 1)), on_delta)


async def test_a_server_that_gives_one_answer_at_a_time_still_holds_the_whole_vote() -> None:
    model = OneAtATime(by_chain(["7", "9", "9", "7", "9"]))
    outcome, steps = await vote(model, samples=5)
    assert (outcome.answer, outcome.details["answers"]) == ("9", ["7", "9", "9", "7", "9"])
    assert [request.sampling.seed for request in model.requests] == [0, 1, 2, 3, 4]
    notes = [step.title for step in steps if step.kind == "note"]
    assert notes[0] == "The server gave 1 of 4 answers that were asked for at once"


async def test_no_answer_at_all_is_no_winner() -> None:
    model = ScriptedModel(lambda request, index: "I do not know.")
    outcome, steps = await vote(model, samples=3)
    assert outcome.answer is None and outcome.text == "I do not know."
    assert steps[-1].title == "no answer in 3 chains"


@pytest.mark.parametrize(("own", "setting", "used"), [(0.0, 0.5, 0.5), (0.3, None, 0.3), (None, None, None)])
async def test_the_temperature_is_the_vote_s_own(
    own: float | None, setting: float | None, used: float | None
) -> None:
    model = ScriptedModel(lambda request, index: "7")
    await vote(model, replace(TASK, sampling=Sampling(temperature=own)), temperature=setting)
    assert model.requests[0].sampling.temperature == used


async def test_chains_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(PromptError, match="10 chains at temperature 0 are all the same"):
        await vote(ScriptedModel([]), replace(TASK, sampling=Sampling(temperature=0)), temperature=None)


async def test_several_votes_have_chains_of_their_own() -> None:
    model = ScriptedModel(by_chain([1, 1, 1, 2, 2, 2]))
    session = Session(model)
    outcomes = await build([{"self_consistency": {"samples": 3, "early_stop": False}}]).run(
        TASK, session, samples=2
    )
    assert [outcome.answer for outcome in outcomes] == ["1", "2"]
    chains = [step.chain for step in session.trace.steps if step.kind == "extraction"]
    assert chains == [0, 1, 2, 3, 4, 5]


async def test_words_and_structured_answers_are_voted_on_too() -> None:
    task = replace(TASK, answer=None)
    outcome, _ = await vote(ScriptedModel(by_chain(["Paris.", "London", "the PARIS"])), task, samples=3)
    assert outcome.answer == "Paris"
    task = replace(task, response_format=response_format_of({"type": "object"}, "x"))
    answers = ['{"a": 1, "b": 2}', '{"b": 2, "a": 1}', '{"a": 2}']
    outcome, _ = await vote(ScriptedModel(by_chain(answers)), task, samples=3)
    assert outcome.answer == '{"a": 1, "b": 2}' and outcome.details["votes"][0]["count"] == 2


async def test_markup_and_escapes_are_counted_literally() -> None:
    hostile = "The answer is \x1b[2J[bold]7[/bold]{{ x }}"
    task = replace(TASK, answer=Answer())
    outcome, steps = await vote(ScriptedModel(lambda request, index: hostile), task, samples=3)
    assert outcome.answer == "\x1b[2J[bold]7[/bold]{{ x }}"
    assert steps[-1].content["votes"][0]["answer"] == outcome.answer


def two_stages(request: Request, index: int) -> str:
    if "Therefore" in last_text(request):
        return str(request.messages[-2]["content"]).split()[-1]
    return "step " * index + "so 7"


async def test_chains_of_thought_vote_as_their_second_stages_end() -> None:
    model = ScriptedModel(two_stages)
    session = Session(model)
    [outcome] = await build("cot+self_consistency").run(TASK, session)
    assert (outcome.answer, outcome.details["finished"]) == ("7", 6)
    assert [request.n for request in model.requests] == [6, 1, 1, 1, 1, 1, 1]
    requests = [step for step in session.trace.steps if step.kind == "request"]
    assert [step.chain for step in requests] == [0, 0, 1, 2, 3, 4, 5]
    written = sum(step.content["completion_tokens"] for step in requests)
    assert outcome.usage.completion_tokens == written


async def test_an_error_in_a_chain_ends_the_vote_cleanly() -> None:
    def script(request: Request, index: int) -> str:
        if "Therefore" in last_text(request) and "step step step" in str(request.messages[-2]["content"]):
            raise ServerError("the engine is gone", where="scripted")
        return two_stages(request, index)

    model = ScriptedModel(script)
    with pytest.raises(ServerError, match="the engine is gone"):
        await build("cot+self_consistency").run(TASK, Session(model))
    assert model.running == 0 and len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("turns", [1, 3, 8, 14, 20])
@pytest.mark.parametrize("technique", ["self_consistency", "cot+self_consistency"])
async def test_cancelling_a_vote_leaves_nothing_running(technique: str, turns: int) -> None:
    model = ScriptedModel(lambda request, index: "word " * (10 + index))
    running = asyncio.ensure_future(build(technique).run(TASK, Session(model)))
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert model.running == 0
    assert len(asyncio.all_tasks()) == 1
