"""Few-shot: which demonstrations are shown, in which order, how they are written, and which never."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from scripted_model import ScriptedEmbedder, ScriptedModel

from workbench.errors import PromptError, ServerError
from workbench.inference.generation import Message
from workbench.prompting.composition import build
from workbench.prompting.prompt import parse_prompt
from workbench.prompting.technique import Session, Task

ROWS = [
    {"id": "r0", "question": "How many apples are in the basket?", "answer": "3"},
    {"id": "r1", "question": "What is the capital of France?", "answer": "Paris"},
    {"id": "r2", "question": "How many pears and apples are there?", "answer": "7"},
    {"id": "r3", "question": "Who wrote Hamlet?", "answer": "Shakespeare"},
    {"id": "r4", "question": "What is the capital of Peru?", "answer": "Lima"},
]


def task(question: str, id: str = "") -> Task:
    return Task(question, ({"role": "system", "content": "S"}, {"role": "user", "content": question}), id=id)


async def shown(
    question: str | Task, session: Session | None = None, **settings: Any
) -> tuple[list[str], list[Message]]:
    """The ids of what is shown in order, and the messages that the model gets."""
    model = ScriptedModel(lambda request, index: "answer")
    session = session or Session(model)
    session.model = model
    if "file" not in settings:
        settings = {"examples": ROWS, "columns": {"id": "id"}, **settings}
    asked = question if isinstance(question, Task) else task(question)
    await build([{"few_shot": settings}]).run(asked, session)
    step = session.trace.steps[0]
    assert step.kind == "demonstrations"
    json.dumps(step.content)
    return [one["id"] for one in step.content["demonstrations"]], list(model.requests[0].messages)


async def test_demonstrations_are_turns_after_the_system_message() -> None:
    ids, messages = await shown("Two and two?", choose="first", count=2)
    assert ids == ["r0", "r1"]
    assert [(message["role"], message["content"]) for message in messages] == [
        ("system", "S"),
        ("user", "How many apples are in the basket?"),
        ("assistant", "3"),
        ("user", "What is the capital of France?"),
        ("assistant", "Paris"),
        ("user", "Two and two?"),
    ]


async def test_demonstrations_in_one_message() -> None:
    _, messages = await shown("Two and two?", choose="first", count=1, style="message")
    assert messages[1:] == [
        {"role": "user", "content": "Q: How many apples are in the basket?\nA: 3\n\nQ: Two and two?\nA:"}
    ]


async def test_the_same_seed_draws_the_same_and_another_seed_others() -> None:
    draws = [tuple((await shown("x", choose="random", count=3, seed=seed))[0]) for seed in range(20)]
    assert draws == [tuple((await shown("y", choose="random", count=3, seed=seed))[0]) for seed in range(20)]
    assert len(set(draws)) > 10


async def test_by_hand_in_the_order_given_by_id_or_row() -> None:
    ids, _ = await shown("x", choose="by_hand", pick=["r4", 0, "r1"])
    assert ids == ["r4", "r0", "r1"]
    with pytest.raises(PromptError, match="no example “r9”"):
        await shown("x", choose="by_hand", pick=["r9"])


async def test_the_nearest_by_words_stands_last() -> None:
    question = "How many apples and pears are there in total?"
    ids, _ = await shown(question, choose="nearest", count=2)
    assert ids == ["r0", "r2"]
    ids, _ = await shown(question, choose="nearest", count=2, nearest_last=False)
    assert ids == ["r2", "r0"]


async def test_the_nearest_by_meaning_goes_by_the_embedder() -> None:
    embedder = ScriptedEmbedder("capital", "apples", "hamlet")
    session = Session(ScriptedModel([]), embedder=embedder)
    settings: dict[str, Any] = {"choose": "nearest", "retriever": "dense", "count": 2}
    ids, _ = await shown("A capital city", session, **settings)
    assert ids == ["r4", "r1"]
    scores = [one["score"] for one in session.trace.steps[0].content["demonstrations"]]
    assert scores == pytest.approx([1.0, 1.0])
    with pytest.raises(PromptError, match="needs an embedding model"):
        await shown("x", **settings)


async def test_examples_are_read_and_embedded_once() -> None:
    embedder = ScriptedEmbedder("capital")
    few = build([{"few_shot": {"examples": ROWS, "choose": "nearest", "retriever": "dense"}}])
    for question in ("a", "b", "c"):
        await few.run(task(question), Session(ScriptedModel(["x"]), embedder=embedder))
    assert embedder.embedded == len(ROWS) + 3


class Uneven(ScriptedEmbedder):
    async def embed(self, texts: Any) -> list[list[float]]:
        return [[1.0] * (number + 1) for number, _ in enumerate(texts)]


async def test_an_embedder_that_gives_nonsense_is_named() -> None:
    session = Session(ScriptedModel([]), embedder=Uneven(name="odd"))
    with pytest.raises(ServerError, match="all of one length") as caught:
        await shown("x", session, choose="nearest", retriever="dense")
    assert caught.value.where == "odd"


async def test_a_question_of_unknown_words_still_has_demonstrations() -> None:
    assert (await shown("zzz ???", choose="nearest", count=2))[0] == ["r1", "r0"]
    assert (await shown("???", choose="nearest", count=2))[0] == ["r1", "r0"]


@pytest.mark.parametrize(
    "settings",
    [
        {"choose": "first", "count": 5},
        {"choose": "random", "count": 5},
        {"choose": "nearest", "count": 5},
        {"choose": "nearest", "retriever": "dense", "count": 5},
        {"choose": "by_hand", "pick": ["r0", "r1", "r2", "r3", "r4"]},
    ],
)
@pytest.mark.parametrize("row", range(5))
async def test_the_own_row_is_never_shown(settings: dict[str, Any], row: int) -> None:
    session = Session(ScriptedModel([]), embedder=ScriptedEmbedder("capital", "how", "who"))
    by_question = ROWS[row]["question"].upper().replace(" ", "  ")
    ids, _ = await shown(by_question, session, **settings)
    assert len(ids) == 4 and ROWS[row]["id"] not in ids
    assert session.trace.steps[0].content["left_out"] == [ROWS[row]["id"]]
    session.trace.steps.clear()
    ids, _ = await shown(task("something else", id=ROWS[row]["id"]), session, **settings)
    assert len(ids) == 4 and ROWS[row]["id"] not in ids


async def test_the_own_row_is_never_shown_from_a_file_with_repeated_questions(tmp_path: Path) -> None:
    draw = random.Random(0)
    questions = [f"question number {draw.randrange(60)}" for _ in range(300)]
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "\n".join(json.dumps({"question": text, "answer": str(n)}) for n, text in enumerate(questions))
    )
    few = {
        choose: build([{"few_shot": {"file": str(path), "choose": choose, "count": 8}}])
        for choose in ("random", "nearest")
    }
    for row, text in enumerate(questions):
        for technique in few.values():
            session = Session(ScriptedModel(["x"]))
            await technique.run(task(text, id=str(row)), session)
            inputs = [one["input"] for one in session.trace.steps[0].content["demonstrations"]]
            assert len(inputs) == 8 and text not in inputs


async def test_only_the_own_row_is_no_demonstration() -> None:
    with pytest.raises(PromptError, match="no demonstration beside the input itself"):
        await shown(ROWS[0]["question"], examples=ROWS[:1], choose="first")


async def test_demonstrations_are_written_by_the_prompts_own_template() -> None:
    prompt = parse_prompt(
        "system: Answer in {{ language }}.\n"
        "user: 'Review: {{ text }}\n\n  Sentiment ({{ labels }}):'\n"
        "variables: {language: English, labels: good or bad}"
    )
    examples = [{"sentence": "nice", "label": 1}, {"sentence": "dull {{ x }} [b]", "label": 0}]
    settings: dict[str, Any] = {
        "examples": examples,
        "columns": {"question": "sentence", "answer": "label"},
        "output": "{{ ['bad', 'good'][label] }}",
        "choose": "first",
    }
    _, messages = await shown(prompt.render({"text": "great"}), **settings)
    assert [message["content"] for message in messages] == [
        "Answer in English.",
        "Review: nice\nSentiment (good or bad):",
        "good",
        "Review: dull {{ x }} [b]\nSentiment (good or bad):",
        "bad",
        "Review: great\nSentiment (good or bad):",
    ]
    settings["input"] = "{{ sentence|upper }}"
    _, messages = await shown(prompt.render({"text": "great"}), **settings)
    assert messages[1]["content"] == "NICE"


async def test_a_demonstration_does_not_borrow_from_the_input() -> None:
    prompt = parse_prompt("user: '{{ context }} {{ question }}'")
    rendered = prompt.render({"context": "the query's own", "question": "x"})
    with pytest.raises(PromptError, match="no value for context") as caught:
        await shown(rendered, choose="first")
    assert "column of that name" in caught.value.hint


async def test_rationales_are_shown_or_missed() -> None:
    gsm8k = [{"question": "Eggs?", "answer": "16 - 3 = <<16-3=13>>13\n#### 13"}]
    _, messages = await shown("x", examples=gsm8k, columns={}, choose="first")
    assert messages[2]["content"] == "13"
    _, messages = await shown("x", examples=gsm8k, columns={}, choose="first", rationales=True)
    assert messages[2]["content"] == "16 - 3 = 13\nThe answer is 13."
    with pytest.raises(PromptError, match="no rationale"):
        await shown("x", choose="first", rationales=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either from a file or from examples"),
        ({"file": "a.csv", "examples": [{}]}, "either from a file or from examples"),
        ({"file": "a.csv", "choose": "by_hand"}, "pick goes with"),
        ({"file": "a.csv", "pick": [1]}, "pick goes with"),
        ({"examples": [{}], "header": ["a"]}, "header names the columns of a file"),
        ({"file": "a.csv", "columns": {"qestion": "q"}}, "no key “qestion”"),
        ({"file": "a.csv", "input": "{{"}, "template cannot be read"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        build([{"few_shot": settings}])


async def test_the_own_row_is_known_where_the_input_is_several_variables() -> None:
    prompt = parse_prompt("user: '{{ first }} or {{ second }}?'")
    rows = [{"first": "x", "second": other, "answer": other} for other in "yz"]
    settings: dict[str, Any] = {"examples": rows, "columns": {"question": "first"}, "choose": "first"}
    _, messages = await shown(prompt.render({"first": "x", "second": "z"}), **settings)
    assert [message["content"] for message in messages] == ["x or y?", "y", "x or z?"]
