"""The Data tab by keys: sources and their kinds, records, the tokenizer, and rows token by token."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from workbench.tui.app import WorkbenchApp
from workbench.tui.data.labels_pane import LabelsPane, cells_of, spans
from workbench.tui.data.records_pane import RecordsPane
from workbench.tui.data.sources_pane import SourcesPane
from workbench.tui.data.subject import Subject
from workbench.tui.tabs.data import DataTab
from workbench.tui.widgets.text_lines import TextLines
from workbench.tui.widgets.token_flow import Cell, TokenFlow

Until = Callable[..., Awaitable[None]]
TextOf = Callable[[WorkbenchApp], str]
SLOW_SECONDS = "120"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer waits for a process that imports torch."""
    monkeypatch.setenv("TUI_TEST_SECONDS", SLOW_SECONDS)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    texts = [f"The cat number {n} sat on the mat, and \x1b[31mit saw dog {n % 7}." for n in range(80)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture
def recipe(tmp_path: Path, corpus: Path) -> Path:
    """A tiny BERT on the corpus, by masked language modelling."""
    path = tmp_path / "tiny.yaml"
    shape = "hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, max_position_embeddings: 64"
    path.write_text(
        f"model: {{family: bert, vocab_size: 400, {shape}}}\n"
        f"objective: {{name: mlm}}\ndata:\n  sources: ['{corpus}']\n  max_length: 32\n"
    )
    return path


async def type_into_prompt(pilot: Pilot[None], key: str, text: str) -> None:
    """Answer the question that a key asks."""
    await pilot.press(key)
    pilot.app.query_one(DataTab).prompt.value = text
    await pilot.press("enter")


async def open_tab(pilot: Pilot[None], until: Until, recipe: Path) -> DataTab:
    """The Data tab on a recipe, its sources read."""
    await pilot.press("2")
    await until(pilot, lambda: pilot.app.query(DataTab))
    tab = pilot.app.query_one(DataTab)
    await until(pilot, lambda: tab.query_one(SourcesPane).found)
    await type_into_prompt(pilot, "o", str(recipe))
    await until(
        pilot, lambda: tab.query_one(SourcesPane).found[0]["path"].endswith("texts.jsonl"), "sources read"
    )
    return tab


@pytest.mark.slow
async def test_a_person_looks_at_data_by_keys(
    recipe: Path, until: Until, text_of: TextOf, size: tuple[int, int]
) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        tab = await open_tab(pilot, until, recipe)
        await until(pilot, lambda: "80 records" in text_of(app))
        assert "kind     text" in text_of(app)
        await pilot.press("r")
        await until(pilot, lambda: "cat number 0" in text_of(app))
        # What is in the data can steer no terminal: it is shown, not sent.
        assert "␛[31m" in text_of(app)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "cat number 20" in text_of(app))
        await type_into_prompt(pilot, "slash", "NUMBER 57")
        await until(pilot, lambda: tab.query_one(RecordsPane).start == 57)
        await pilot.press("t")
        await until(pilot, lambda: "bytes a token" in text_of(app))
        await pilot.press("i")
        await until(pilot, lambda: "masked" in text_of(app) and "[CLS]" in text_of(app))
        pane, flow = tab.query_one(LabelsPane), tab.query_one("#flow", TokenFlow)
        hidden = next(n for n, cell in enumerate(flow.cells) if cell.state == "masked")
        flow.focus()
        await pilot.press("home", *["right"] * hidden)
        await until(pilot, lambda: "predicts" in text_of(app))
        about = tab.query_one("#about-token", TextLines).text
        token = pane.row["streams"][0]["tokens"][hidden] if pane.row else {}
        assert f"id {token['target']}" in about and "hidden by a mask" in about
        first = [cell.text for cell in flow.cells]
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: [cell.text for cell in flow.cells] != first and pane.number == 1)
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: [cell.text for cell in flow.cells] == first)
        await pilot.press("v")
        await until(pilot, lambda: "eval row 0" in text_of(app))
        await pilot.press("x")
        await until(pilot, lambda: "rows of an epoch" in text_of(app))
        width = size[0]
        assert all(len(line) <= width for line in text_of(app).splitlines())


@pytest.mark.slow
async def test_bad_input_is_told_and_nothing_is_lost(
    recipe: Path, until: Until, text_of: TextOf, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("text,label\none,1\ntwo\n")
    app = WorkbenchApp()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        tab = await open_tab(pilot, until, recipe)
        await type_into_prompt(pilot, "plus", str(bad))
        await until(pilot, lambda: "has 1 fields, the header has 2" in text_of(app))
        assert f"{bad}:3" in text_of(app).replace("\n", "")
        await type_into_prompt(pilot, "o", "no-such-preset")
        await until(pilot, lambda: "there is no preset called" in text_of(app))
        assert tab.subject.source == str(recipe)
        await type_into_prompt(pilot, "K", "poems")
        await until(pilot, lambda: "kind" in text_of(app) and "poems" in text_of(app))
        assert all("kind" not in source for source in tab.subject.changes.get("data.sources", []))


def test_a_subject_keeps_at_least_one_source(recipe: Path) -> None:
    subject = Subject(str(recipe))
    subject.add_source("stdlib:")
    assert [source["path"] for source in subject.sources()] == ["stdlib:"]
    subject.remove_source(0)
    assert len(subject.sources()) == 1
    subject.add_source("b.txt")
    subject.set_source(1, columns={"text": "line"})
    assert subject.sources()[1]["columns"] == {"text": "line"}
    subject.remove_source(0)
    assert [source["path"] for source in subject.sources()] == ["b.txt"]


def test_cells_show_the_truth_and_no_control_characters() -> None:
    token: dict[str, Any] = {"text": "\x1b[2J", "state": "masked", "original_text": "king", "document": 0}
    other = {**token, "state": "context", "document": 1}
    assert cells_of([token, other]) == [
        Cell("␛[2J→king", "masked", False),
        Cell("␛[2J", "context", True),
    ]


def test_spans_are_runs() -> None:
    assert spans([0, 1, 2, 5]) == "4 tokens: 0–2, 5"
    assert spans([]) == "nothing"
