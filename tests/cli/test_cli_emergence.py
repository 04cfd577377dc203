"""Which models are asked sums, and which of them the verdict is about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scaling_studies import make_study

from workbench.cli import main, prediction
from workbench.recipe import load
from workbench.scaling import results
from workbench.scaling.fitting.points import Point
from workbench.scaling.spec import ArithmeticSection
from workbench.scaling.sums import write_sums
from workbench.store.runs import create_run, find_run

EXACT = {"small-1": 0.0, "large-1": 0.0, "small-2": 0.05, "large-2": 0.9, "small-3": 0.1, "other": 0.15}
"""At two of three budgets the larger model is worse, and at the second it knows sums already."""


@pytest.fixture
def asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that are asked, of a study whose runs have finished."""
    study = make_study("sums")
    write_sums(ArithmeticSection(steps=[1], largest=29, held_out=20, documents=2), study.path)
    points = [
        Point(name, 1e5, 1e6, 3.0 - int(name[-1]) + 0.1 * name.startswith("large"), flops, flops)
        for name, flops in zip(EXACT, (1e12, 1e12, 2e12, 2e12, 4e12), strict=False)
    ]
    monkeypatch.setattr(results, "results_of", lambda *of: results.Results(tuple(points), {}))
    for name in EXACT:
        run = create_run(load("nano", [f"run.name={name}"]))
        run.final_path.mkdir()
        (run.final_path / "tokenizer.json").write_text("{}")
        status = run.status()
        status.state, status.num_parameters, status.num_tokens = "finished", 100_000, 10_000_000
        status.write(run.status_path)
    names: list[str] = []

    def ask(request: dict[str, Any], *, debug: bool) -> Iterator[dict[str, Any]]:
        names[:] = [model["name"] for model in request["models"]]
        for name in names:
            right = round(EXACT[name] * len(request["items"]))
            yield {
                "name": name,
                "items": [
                    {"exact": number < right, "result": number < right, "text": "", "digits": 2, "tokens": 2,
                     "log_likelihood": -4.0 + 3 * EXACT[name]}
                    for number in range(len(request["items"]))
                ],
            }  # fmt: skip

    monkeypatch.setattr(prediction, "ask", ask)
    return names


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["scale", "emergence", "sums", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_verdict_is_about_the_best_of_each_budget(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    best = told(capsys)
    assert asked == ["small-1", "small-2", "small-3"]
    # All may be looked at; a jump at one budget is not one over compute.
    every = told(capsys, "--all")
    assert sorted(asked) == sorted(name for name in EXACT if name != "other")
    assert len(every["models"]) == 5 and every["verdicts"] == best["verdicts"]
    assert "jumps" not in best["verdicts"]["1"]


def test_another_run_is_asked_beside_them(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    more = told(capsys, "--also", "other", "--also", "large-2")
    assert asked == ["small-1", "small-2", "small-3", "other", "large-2"]
    by_name = {model["name"]: model["flops"] for model in more["models"]}
    # Of the study's own runs the compute is known; of others it is reckoned.
    assert by_name["large-2"] == 2e12 and by_name["other"] == pytest.approx(6e12)
    assert "jumps" in more["verdicts"]["1"]
    (find_run("other").final_path / "tokenizer.json").write_text('{"other": 1}')
    assert main(["scale", "emergence", "sums", "--also", "other"]) == 1
    assert "its tokenizer is not the study's" in capsys.readouterr().err
