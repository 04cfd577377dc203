"""Data sets of sums, and evaluations over them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.prompting.composition import build
from workbench.prompting.evaluation.items import DataSet
from workbench.prompting.evaluation.setup import Setup
from workbench.prompting.prompt import parse_prompt
from workbench.store.evaluations import Evaluation, evaluation_called


@pytest.fixture
def sums(tmp_path: Path) -> Callable[[int], Path]:
    """A file of so many sums, as GSM8K has its answers."""

    def make(count: int) -> Path:
        path = tmp_path / "sums.jsonl"
        rows = [
            {
                "question": f"What is {n} + {n}?",
                "answer": f"{n} and {n} is <<{n}+{n}={2 * n}>>{2 * n}\n#### {2 * n}",
            }
            for n in range(count)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return make


@pytest.fixture
def setup(sums: Callable[[int], Path]) -> Callable[..., Setup]:
    """An evaluation of sums, with whatever is to be another."""

    def make(path: Path, technique: Any = None, prompt: str = "", **changes: Any) -> Setup:
        text = prompt or 'user: "{{ question }}"\nanswer: number\n'
        about = {"model": {"name": "scripted", "place": "here"}, "data": DataSet(path, answer="answer")}
        return Setup(parse_prompt(text, "sums"), build(technique), **{**about, **changes})

    return make


@pytest.fixture
def evaluation(home: Path) -> Evaluation:
    """An evaluation that has not begun."""
    return evaluation_called("one")
