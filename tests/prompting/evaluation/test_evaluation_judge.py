"""Evaluations with a judge: the numbers, malformed verdicts counted, going on after a stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_model import ScriptedModel, last_text
from summing_model import summing

from workbench.errors import ServerError, UsageError
from workbench.inference.generation import Request
from workbench.prompting.evaluation import run
from workbench.prompting.evaluation.comparison import scale_of, warnings_of
from workbench.prompting.evaluation.intervals import bootstrapped
from workbench.prompting.evaluation.items import DataSet, Item, read_items
from workbench.prompting.evaluation.run import Effort, evaluate
from workbench.prompting.evaluation.setup import Setup
from workbench.prompting.evaluation.summary import results_in
from workbench.prompting.judging.settings import JudgeSettings
from workbench.store.evaluations import Evaluation, evaluation_called

Make = Callable[..., Setup]
Sums = Callable[[int], Path]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(run, "WAIT_SECONDS", 0.0)


@pytest.fixture
def judged(setup: Make) -> Make:
    """An evaluation of sums by a judge, with whatever is to be another."""

    def make(path: Path, *args: Any, **changes: Any) -> Setup:
        about = {"judge": JudgeSettings(), "judge_model": {"name": "wise", "place": "here"}}
        return setup(path, *args, metric="judge", **{**about, **changes})

    return make


def items_of(setup: Setup) -> list[Item]:
    return read_items(setup.data, setup.prompt, setup.compared_as)


def scoring(score: Callable[[int], Any], **options: Any) -> ScriptedModel:
    """A judge whose score for the sum of n and n is said; None is a malformed verdict."""

    def script(request: Request, index: int) -> str:
        n = int(last_text(request).split("What is ")[1].split()[0])
        said = score(n)
        return "no idea" if said is None else json.dumps({"reasons": f"about {n}", "score": said})

    return ScriptedModel(script, **{"name": "wise", **options})


def five(n: int) -> int:
    return 1 + n % 5


async def test_the_mean_is_on_the_scale_with_its_interval(
    judged: Make, sums: Sums, evaluation: Evaluation
) -> None:
    setup, model, judge = judged(sums(40)), summing(lambda n: False), scoring(five)
    told = await evaluate(setup, items_of(setup), model, evaluation, judge=judge)
    found = told["judge"]
    interval = bootstrapped([(five(n) - 1) / 4 for n in range(40)])
    assert interval is not None
    assert (found["score"], found["scale"], found["model"]) == (3.0, [1, 5], "wise")
    assert found["interval"]["low"] == pytest.approx(1 + 4 * interval.low)
    assert found["interval"]["high"] == pytest.approx(1 + 4 * interval.high)
    assert (found["verdicts"], found["malformed"], told["scored"]) == (40, 0, 40)
    # What the judge read and wrote is its own, not the judged model's cost.
    assert found["prompt_tokens"] > 40 * 50 and told["cost"]["requests"]["total"] == 40
    assert told["accuracy"] is None and told["interval"] is None and told["notes"] == []
    record = next(record for record in evaluation.transcripts() if record["id"] == "3")
    assert record["score"] == 0.75 and record["samples"][0]["verdict"]["reasons"] == "about 3"
    (step,) = [step for step in record["trace"] if step["kind"] == "verdict"]
    assert step["title"] == "wise says: 4 of 1–5"
    assert "<reference>\n6\n</reference>" in step["content"]["messages"][1]["content"]
    assert evaluation.settings()["judge"]["model"] == {"name": "wise", "place": "here"}


async def test_malformed_verdicts_are_counted_and_in_no_mean(
    judged: Make, sums: Sums, evaluation: Evaluation
) -> None:
    setup = judged(sums(10), samples=2)
    turns: dict[int, int] = {}

    def score(n: int) -> int | None:
        turns[n] = turns.get(n, 0) + 1
        return None if n == 9 or (n == 8 and turns[n] == 2) else 9 if n == 7 else 3

    judge = scoring(score)
    told = await evaluate(setup, items_of(setup), summing(lambda n: False), evaluation, judge=judge)
    # Both of 9, one of 8, and both of 7, which is off the scale.
    assert (told["judge"]["malformed"], told["judge"]["verdicts"]) == (5, 15)
    assert (told["done"], told["scored"], told["failed"]) == (10, 8, 0)
    assert told["judge"]["score"] == 3.0
    by_id = {result.id: result for result in results_in(evaluation)}
    assert by_id["9"].score is None and by_id["8"].scores == (0.5,)
    asked = len(judge.requests)
    again = await evaluate(setup, items_of(setup), ScriptedModel([]), evaluation, judge=judge)
    assert len(judge.requests) == asked and again["judge"] == told["judge"]


async def test_without_references_the_rubric_decides(
    judged: Make, sums: Sums, evaluation: Evaluation
) -> None:
    path = sums(3)
    setup = judged(path, data=DataSet(path), judge=JudgeSettings(rubric="Short.", scale=(0, 1)))
    judge = scoring(lambda n: n % 2)
    told = await evaluate(setup, items_of(setup), summing(lambda n: False), evaluation, judge=judge)
    assert told["judge"]["score"] == pytest.approx(1 / 3)
    assert told["judge"]["interval"]["method"] == "exact binomial"
    assert all("<reference>" not in last_text(request) for request in judge.requests)
    assert all("<rubric>\nShort.\n</rubric>" in last_text(request) for request in judge.requests)


async def test_stopped_and_gone_on_with_no_verdict_is_asked_for_twice(
    judged: Make, sums: Sums, evaluation: Evaluation
) -> None:
    setup, judge = judged(sums(20)), scoring(five)
    items = items_of(setup)
    whole = await evaluate(
        setup, items, summing(lambda n: False), evaluation_called("whole"), judge=scoring(five)
    )
    task: asyncio.Task[Any]

    def stop_after_seven(done: int, failed: int, score: float | None) -> None:
        if done == 7:
            task.cancel()

    model = summing(lambda n: False)
    begun = evaluate(
        setup, items, model, evaluation, judge=judge, effort=Effort(2), progress=stop_after_seven
    )
    task = asyncio.ensure_future(begun)
    with pytest.raises(asyncio.CancelledError):
        await task
    before = len(judge.requests)
    told = await evaluate(setup, items, model, evaluation, judge=judge)
    assert len(judge.requests) - before == 20 - 7
    assert told["judge"] == whole["judge"] and told["done"] == 20


async def test_a_failing_judge_is_asked_again_and_the_model_is_not(
    judged: Make, sums: Sums, evaluation: Evaluation
) -> None:
    setup, model = judged(sums(6)), summing(lambda n: False)
    tried: dict[int, int] = {}

    def score(n: int) -> int:
        tried[n] = tried.get(n, 0) + 1
        if tried[n] < 3 or n == 5:
            raise ServerError("out of breath", where="wise")
        return 5

    told = await evaluate(
        setup, items_of(setup), model, evaluation, judge=scoring(score), effort=Effort(tries=3)
    )
    assert (told["done"], told["failed"], len(model.requests)) == (5, 1, 6)
    assert "the judge: out of breath" in evaluation.failures_path.read_text()


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("judge.rubric", {"judge": JudgeSettings(rubric="Long.")}),
        ("judge.scale", {"judge": JudgeSettings(scale=(1, 10))}),
        ("judge.seed", {"judge": JudgeSettings(seed=1)}),
        ("judge.model.name", {"judge_model": {"name": "wiser", "place": "here"}}),
    ],
)
async def test_going_on_with_another_judge_is_refused_and_comparing_with_one_warned_of(
    judged: Make, sums: Sums, evaluation: Evaluation, key: str, changes: dict[str, Any]
) -> None:
    path = sums(2)
    first, other = judged(path), judged(path, **changes)
    await evaluate(first, items_of(first), summing(lambda n: False), evaluation, judge=scoring(five))
    with pytest.raises(UsageError, match=f"other settings: {key}: "):
        await evaluate(other, items_of(other), ScriptedModel([]), evaluation, judge=scoring(five))
    (warning,) = warnings_of(first.record, other.record)
    assert key.removeprefix("judge.") in warning
    assert (scale_of(first.record, other.record) is None) == (key == "judge.scale")


async def test_another_metric_and_a_judge_of_itself_are_warned_of(
    setup: Make, judged: Make, sums: Sums, evaluation: Evaluation
) -> None:
    path = sums(2)
    (warning,) = warnings_of(setup(path).record, judged(path).record)
    assert warning == "the first is scored by the metric answer, the second by judge"
    own = judged(path, judge_model={"name": "/models/Scripted", "place": "there"})
    told = await evaluate(own, items_of(own), summing(lambda n: False), evaluation, judge=scoring(five))
    assert told["notes"] == [run.JUDGES_ITSELF]
