"""Running an evaluation: what is asked, what is kept, going on after a stop, failures counted apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_model import ScriptedModel, last_text
from summing_model import sum_in, summing

from workbench.errors import RunError, ServerError, UsageError
from workbench.inference.generation import OnDelta, Request, Response
from workbench.prompting.evaluation import run
from workbench.prompting.evaluation.intervals import of_mean
from workbench.prompting.evaluation.items import Item, read_items
from workbench.prompting.evaluation.run import Effort, evaluate
from workbench.prompting.evaluation.setup import Setup
from workbench.prompting.evaluation.summary import failed_in, results_in
from workbench.store.evaluations import Evaluation, evaluation_called

Make = Callable[..., Setup]
Sums = Callable[[int], Path]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(run, "WAIT_SECONDS", 0.0)


def items_of(setup: Setup, first: int | None = None) -> list[Item]:
    return read_items(setup.data, setup.prompt, setup.compared_as, first=first)


def numbers(summary: dict[str, Any]) -> dict[str, Any]:
    """All of a summary but what no two runs have in common."""
    cost = {name: value for name, value in summary["cost"].items() if name != "seconds"}
    return {**summary, "cost": cost}


async def test_known_answers_give_the_exact_accuracy(setup: Make, sums: Sums, evaluation: Evaluation) -> None:
    setup_ = setup(sums(40))
    told = await evaluate(setup_, items_of(setup_), summing(lambda n: n % 4 == 0), evaluation)
    assert told["accuracy"] == 0.75 and told["right"] == 30 and told["scored"] == 40
    interval = of_mean([float(n % 4 != 0) for n in range(40)])
    assert interval is not None and told["interval"] == interval.as_json()
    assert interval.method == "bootstrap, BCa"
    assert (told["state"], told["failed"], told["without_answer"]) == ("finished", 0, 0)
    assert told["cost"]["prompt_tokens"] == {"mean": 5.0, "total": 200}
    assert told["cost"]["completion_tokens"]["mean"] == 7.0 and told["cost"]["requests"]["total"] == 40
    assert evaluation.summary()["accuracy"] == 0.75


async def test_what_has_no_answer_counts_as_wrong_and_is_told(
    setup: Make, sums: Sums, evaluation: Evaluation
) -> None:
    model = ScriptedModel(lambda request, _: "no idea" if "3 + 3" in last_text(request) else "6")
    setup_ = setup(sums(5))
    told = await evaluate(setup_, items_of(setup_), model, evaluation)
    assert told["without_answer"] == 1 and told["accuracy"] == 0.0
    assert told["interval"]["method"] == "exact binomial" and "5 items" in told["interval"]["note"]


async def test_every_transcript_is_kept_whole(setup: Make, sums: Sums, evaluation: Evaluation) -> None:
    setup_ = setup(sums(3), "cot")
    await evaluate(setup_, items_of(setup_), summing(lambda n: False), evaluation)
    by_id = {record["id"]: record for record in evaluation.transcripts()}
    record = by_id["2"]
    assert record["question"] == "What is 2 + 2?" and record["reference"] == ["4"] and record["score"] == 1
    assert [step["kind"] for step in record["trace"]] == ["request", "request", "extraction"]
    first, second, _ = record["trace"]
    assert first["content"]["completions"][0]["text"] == "Let me see. The answer is 4."
    assert second["content"]["messages"][1]["content"] == "Let me see. The answer is 4."
    assert record["cost"]["requests"] == 2 and record["where"].endswith("sums.jsonl:3")


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_are_asked_at_once_than_allowed(
    setup: Make, sums: Sums, evaluation: Evaluation, concurrency: int
) -> None:
    model = summing(lambda n: False)
    most = 0

    class Watched(ScriptedModel):
        async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
            nonlocal most
            most = max(most, model.running + 1)
            return await model.generate(request, on_delta)

    setup_ = setup(sums(12))
    watched = Watched([])
    await evaluate(setup_, items_of(setup_), watched, evaluation, effort=Effort(concurrency))
    assert most == concurrency and len(model.requests) == 12


async def test_stopped_and_gone_on_with_it_has_the_numbers_of_one_that_was_not(
    setup: Make, sums: Sums, evaluation: Evaluation
) -> None:
    setup_ = setup(sums(30), [{"self_consistency": {"samples": 3, "early_stop": False}}])
    items = items_of(setup_)
    whole = await evaluate(setup_, items, summing(lambda n: n % 3 == 0), evaluation_called("whole"))
    model, seen = summing(lambda n: n % 3 == 0), 0
    task: asyncio.Task[Any]

    def stop_after_ten(done: int, failed: int, accuracy: float | None) -> None:
        nonlocal seen
        seen = done
        if done == 10:
            task.cancel()

    task = asyncio.ensure_future(
        evaluate(setup_, items, model, evaluation, effort=Effort(2), progress=stop_after_ten)
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.running == 0 and seen == 10
    assert evaluation.summary()["state"] == "stopped"
    asked = len(model.requests)
    with evaluation.results_path.open("ab") as file:
        file.write(b'{"id": "29", "row": 29, "samples": [')  # what a kill leaves
    told = await evaluate(setup_, items, model, evaluation)
    assert numbers(told) == numbers(whole)
    assert len(model.requests) - asked == 30 - 10
    assert len([*evaluation.transcripts()]) == 30
    assert told["agreement"] == 1.0


async def test_other_settings_are_refused_with_the_difference(
    setup: Make, sums: Sums, evaluation: Evaluation
) -> None:
    path = sums(3)
    setup_ = setup(path)
    items = items_of(setup_)
    await evaluate(setup_, items, summing(lambda n: False), evaluation)
    others = {
        "technique.parts": setup(path, "cot"),
        "prompt.version": setup(path, prompt='user: "Now: {{ question }}"\nanswer: number'),
        "model.name": setup(path, model={"name": "other", "place": "here"}),
        "sampling.temperature": setup(path, sampling={"temperature": 0.5}),
        "samples": setup(path, samples=2),
        "metric": setup(path, metric="exact"),
    }
    for key, other in others.items():
        with pytest.raises(UsageError, match=f"other settings: {key}: .* → "):
            await evaluate(other, items, summing(lambda n: False), evaluation)
        assert other.name() != setup_.name()
    with pytest.raises(UsageError, match=r"data\.sha256"):
        await evaluate(setup(sums(4)), items, summing(lambda n: False), evaluation)


async def test_it_may_grow_and_not_shrink(setup: Make, sums: Sums, evaluation: Evaluation) -> None:
    setup_ = setup(sums(9))
    model = summing(lambda n: False)
    await evaluate(setup_, items_of(setup_, 3), model, evaluation)
    told = await evaluate(setup_, items_of(setup_, 7), model, evaluation)
    assert told["items"] == told["done"] == len(model.requests) == 7
    with pytest.raises(UsageError, match="over 7 items, not 2"):
        await evaluate(setup_, items_of(setup_, 2), model, evaluation)


def refusing(times: Callable[[int], float]) -> ScriptedModel:
    """A model that refuses each sum so many times before it does it."""
    tried: dict[str, int] = {}

    def script(request: Request, index: int) -> str:
        text = last_text(request)
        tried[text] = tried.get(text, 0) + 1
        if tried[text] <= times(int(text.split()[2])):
            raise ServerError("out of breath", where="scripted")
        return sum_in(text, lambda n: False)

    return ScriptedModel(script)


async def test_failures_are_tried_again_and_counted_apart(
    setup: Make, sums: Sums, evaluation: Evaluation
) -> None:
    setup_ = setup(sums(8))
    items = items_of(setup_)
    # Every second item fails twice, one for good.
    model = refusing(lambda n: 99 if n == 5 else 2 if n % 2 else 0)
    told = await evaluate(setup_, items, model, evaluation, effort=Effort(tries=3))
    assert (told["state"], told["done"], told["failed"], told["scored"]) == ("finished", 7, 1, 7)
    assert told["accuracy"] == 1.0 and told["items"] == 8
    done = [result.id for result in results_in(evaluation)]
    assert failed_in(evaluation, done)["5"]["message"] == "out of breath"
    again = await evaluate(setup_, items, summing(lambda n: False), evaluation)
    assert (again["done"], again["failed"]) == (8, 0)
    assert failed_in(evaluation, [*done, "5"]) == {}


async def test_it_gives_up_when_the_server_is_gone(setup: Make, sums: Sums, evaluation: Evaluation) -> None:
    setup_ = setup(sums(50))
    model = refusing(lambda n: 99)
    with pytest.raises(ServerError, match="5 items in a row failed, each tried 2 times") as caught:
        await evaluate(setup_, items_of(setup_), model, evaluation, effort=Effort(2, tries=2))
    assert "goes on where it stopped" in caught.value.hint
    assert len(model.requests) <= 2 * (5 + 2)
    assert evaluation.summary()["state"] == "failed"
    assert "out of breath" in evaluation.summary()["error"]["message"]
    told = await evaluate(setup_, items_of(setup_), summing(lambda n: False), evaluation)
    assert told["done"] == 50


async def test_two_at_once_are_refused(setup: Make, sums: Sums, evaluation: Evaluation) -> None:
    setup_ = setup(sums(3))
    evaluation.path.mkdir(parents=True)
    with evaluation.open_results(), pytest.raises(RunError, match="running already"):
        await evaluate(setup_, items_of(setup_), summing(lambda n: False), evaluation)


async def test_several_samples_of_an_item_are_one_score(
    setup: Make, sums: Sums, evaluation: Evaluation
) -> None:
    model = ScriptedModel(lambda request, index: "0" if index == 0 else "The answer is 2.")
    setup_ = setup(sums(2), samples=4)
    told = await evaluate(setup_, items_of(setup_), model, evaluation)
    assert told["accuracy"] == (1 / 4 + 3 / 4) / 2
    assert told["right_in_any"] == 1.0 and told["samples"] == 8
    assert [result.scores for result in results_in(evaluation)] == [(1, 0, 0, 0), (0, 1, 1, 1)]


@pytest.mark.parametrize(
    ("metric", "said", "accuracy"),
    [("exact", " 4\n", 1.0), ("exact", "4.", 0.0), ("contains", "It is 14.", 1.0), ("contains", "five", 0.0)],
)
async def test_metrics_on_the_text(
    setup: Make, tmp_path: Path, evaluation: Evaluation, metric: str, said: str, accuracy: float
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"question": "2 + 2", "answer": "4"}))
    setup_ = setup(path, prompt='user: "{{ question }}"', metric=metric)
    told = await evaluate(setup_, items_of(setup_), ScriptedModel([said]), evaluation)
    assert told["accuracy"] == accuracy


async def test_without_references_there_are_costs_and_no_accuracy(
    setup: Make, sums: Sums, evaluation: Evaluation
) -> None:
    from workbench.prompting.evaluation.items import DataSet

    path = sums(4)
    setup_ = setup(path, data=DataSet(path))
    told = await evaluate(setup_, items_of(setup_), summing(lambda n: False), evaluation)
    assert told["accuracy"] is None and told["interval"] is None and told["scored"] == 0
    assert told["cost"]["completion_tokens"]["total"] > 0


async def test_each_row_is_drawn_under_a_seed_of_its_own(
    setup: Make, sums: Sums, evaluation: Evaluation
) -> None:
    model = summing(lambda n: False)
    setup_ = setup(sums(3), sampling={"seed": 7, "temperature": 0.5})
    await evaluate(setup_, items_of(setup_), model, evaluation)
    seeds = {last_text(request): request.sampling.seed for request in model.requests}
    assert seeds["What is 0 + 0?"] == 7 and len(set(seeds.values())) == 3
    assert {request.sampling.temperature for request in model.requests} == {0.5}


async def test_the_rows_of_its_own_file_are_no_demonstrations(
    setup: Make, sums: Sums, evaluation: Evaluation, tmp_path: Path
) -> None:
    path = sums(3)
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({"question": f"q{n}", "answer": str(n)}) + "\n" for n in range(3)))
    for file, ids in ((path, ["0", "2"]), (other, ["0", "1", "2"])):
        few = {"few_shot": {"file": str(file), "choose": "first", "count": 3}}
        setup_ = setup(path, [few])
        kept = evaluation_called(file.stem)
        await evaluate(setup_, items_of(setup_), summing(lambda n: False), kept)
        record = next(record for record in kept.transcripts() if record["id"] == "1")
        assert [one["id"] for one in record["trace"][0]["content"]["demonstrations"]] == ids


async def test_text_that_no_file_could_hold_is_kept_all_the_same(
    setup: Make, sums: Sums, evaluation: Evaluation
) -> None:
    setup_ = setup(sums(1))
    said = "half \ud800 pair, \x1b[2J [bold]markup[/bold] \u2028 and 0"
    told = await evaluate(setup_, items_of(setup_), ScriptedModel([said]), evaluation)
    assert told["done"] == 1 and told["accuracy"] == 1.0
    (record,) = evaluation.transcripts()
    assert record["samples"][0]["text"] == said.replace("\ud800", "?")
