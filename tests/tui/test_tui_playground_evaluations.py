"""Evaluations in the Playground: listed, and looked at item by item."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from playing import play

from workbench.prompting.technique import Step
from workbench.store.evaluations import evaluation_called
from workbench.tui.playground.picker import Picker
from workbench.tui.playground.transcript import column_from, mark
from workbench.tui.playground.transcripts_screen import TranscriptsScreen


def item(number: int, *, right: bool) -> dict[str, Any]:
    """A transcript of a vote of two, whose second chain was chosen."""
    answer = str(number if right else -1)
    texts = ["I do not know.", f"It is \x1b[31m{answer}."]
    completions = [{"text": text, "finish_reason": "stop", "tool_calls": []} for text in texts]
    vote = {"votes": [{"answer": answer, "count": 1, "share": 1.0}], "agreement": 0.5, "finished": 2}
    vote |= {"of": 2, "without_answer": 1, "weighted": False, "decided": True, "tied": False}
    steps = [
        Step("extraction", answer, {"answer": answer}, 1),
        Step("request", "Answer", {"messages": [], "n": 2, "completions": completions}, 0, 1.5),
        Step("vote", "decided", vote),
    ]
    details = {"chosen_chain": 1, "finish_reason": "stop", "agreement": 0.5}
    return {
        "id": str(number),
        "row": number,
        "where": f"data.jsonl:{number + 1}",
        "question": f"How much is {number} + 0?",
        "reference": [str(number)],
        "score": 1.0 if right else 0.0,
        "cost": {"completion_tokens": 12, "seconds": 1.5},
        "samples": [{"text": texts[1], "answer": answer, "correct": right, "details": details}],
        "trace": [asdict(step) for step in steps],
    }


@pytest.fixture
def evaluated() -> str:
    """300 items, every third of them right; the last line was cut off."""
    evaluation = evaluation_called("sums")
    names = {"prompt": "add", "technique": "self_consistency", "model": "/models/smol"}
    evaluation.write_settings({section: {"name": name} for section, name in names.items()})
    interval = {"low": 0.28, "high": 0.39}
    evaluation.write_summary(
        {"state": "finished", "items": 300, "done": 300, "accuracy": 1 / 3, "interval": interval}
    )
    lines = [json.dumps(item(number, right=number % 3 == 0)) + "\n" for number in range(300)]
    evaluation.results_path.write_text("".join([*lines, '{"id": "half']))
    return "sums"


async def test_an_evaluation_is_read_item_by_item(evaluated: str, size: tuple[int, int]) -> None:
    async with play({}, size) as playing:
        await playing.press("E")
        await playing.until_screen(Picker)
        await playing.until_shown("accuracy 33.3% (28%–39%) · 300 of 300 · finished · add")
        await playing.press("enter")
        screen = await playing.until_screen(TranscriptsScreen)
        await playing.until(lambda: len(screen.items) == 300)
        await playing.until_shown("answered 0 · wanted 0 · data.jsonl:1")
        assert playing.shows("It is ␛[31m0.") and playing.shows("chain 2 of 2") and playing.fits()
        await playing.press("j")
        await playing.until_shown("answered -1 · wanted 1")
        await playing.press("end", "v")
        await playing.until_shown("agreement 50%")
        await playing.press("left_square_bracket", "a")
        await playing.until_shown("I do not know.")
        await playing.press("s")
        await playing.until_shown("2 answers at once")


async def test_items_are_filtered_and_searched(evaluated: str) -> None:
    async with play({}) as playing:
        await playing.press("E")
        await playing.until_screen(Picker)
        await playing.press("enter")
        screen = await playing.until_screen(TranscriptsScreen)
        await playing.until(lambda: len(screen.items) == 300)
        await playing.press("f")
        await playing.until(lambda: len(screen.items) == 200)
        assert screen.items.transcript["score"] == 0
        await playing.press("slash")
        await playing.write("How much is 29")
        await playing.press("enter")
        # 29 and 290 to 299 without those that 3 divides.
        await playing.until(lambda: len(screen.items) == 1 + 7)
        await playing.press("escape")
        await playing.until(lambda: len(screen.items) == 200)
        await playing.press("enter")
        assert playing.app.focused is not screen.items
        await playing.press("escape", "escape")
        await playing.until(lambda: playing.app.screen is not screen)


async def test_without_evaluations_it_says_how_to_make_one() -> None:
    async with play({}) as playing:
        await playing.press("E")
        await playing.until_shown("workbench eval --prompt")


def test_damaged_transcripts_are_shown_as_far_as_they_go() -> None:
    assert column_from({}).chains == {}
    assert mark({}) == ("·", "dim") and mark({"score": 0.5})[1] == "warn"
    column = column_from(
        {
            "question": 3,
            "trace": [7, {"kind": "note"}, {"kind": "note", "content": {}}],
            "samples": ["x", {"text": None}],
        }
    )
    assert column.question == "3" and len(column.steps) == 1
