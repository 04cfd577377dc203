"""Rewards by regular expression and by a person's own function, sums, and the penalty for no end."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from workbench.errors import RecipeError, TrainingError, WorkbenchError
from workbench.objectives.ppo.rewards import (
    Columns,
    FunctionReward,
    RegexReward,
    Reward,
    eos_penalty,
    sum_of_rewards,
)

SOURCE = """
import functools
from .words import COUNTED

def politeness(completions, **_):
    return [sum(word in COUNTED for word in text.split()) for text in completions]

def of_columns(prompts, completions, answer):
    return [float(a in c) + 0.5 * c.startswith(p) for p, c, a in zip(prompts, completions, answer)]

def some(completions): return [None, 2, True][: len(completions)]
def late(completions):
    import later_of_rewards_test
    return [later_of_rewards_test.VALUE] * len(completions)
def short(completions): return [1.0]
def text(completions): return "no"
def words(completions): return ["good"] * len(completions)
def infinite(completions): return [float("inf")] * len(completions)
def failing(completions): return [1 / 0]
def generator(completions): return (1.0 for _ in completions)
def tensor(completions):
    import torch
    return torch.ones(len(completions))
NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / "code" / "rewards_of_test"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "words.py").write_text("COUNTED = {'please', 'thanks'}")
    (tmp_path / "code" / "later_of_rewards_test.py").write_text("VALUE = 4")
    (package / "rules.py").write_text(SOURCE)
    (package / "needy.py").write_text("import no_such_package_anywhere")
    (package / "broken.py").write_text("def (")
    (tmp_path / "code" / "json.py").write_text("def score(completions): return [1.0]")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path / "code"
    for name in [
        name for name in sys.modules if name.split(".")[0].endswith(("rewards_of_test", "of_rewards_test"))
    ]:
        del sys.modules[name]


def test_regular_expressions() -> None:
    completions = ["The answer is 42.", "42", "answer: none"]
    found: Reward = RegexReward(r"\d+")
    assert found([""] * 3, completions) == [1, 1, 0]
    with pytest.raises(RecipeError, match="at character 5") as raised:
        RegexReward("good(")
    assert raised.value.where == "good("


def test_a_function_from_a_folder(folder: Path) -> None:
    reward: Reward = FunctionReward("rewards_of_test.rules:politeness", folder)
    assert reward(["", ""], ["please thanks", "no"]) == [2, 0]
    columns: Columns = {"answer": ["4", "x"], "another": [1, 2]}
    by_columns = FunctionReward("rewards_of_test.rules:of_columns", folder)
    assert by_columns(["a", "b"], ["a4", "c"], columns) == [1.5, 0]
    assert FunctionReward("rewards_of_test.rules:late", folder)([""], [""]) == [4]
    assert FunctionReward("rewards_of_test.rules:tensor", folder)(["", ""], ["", ""]) == [1, 1]
    found = FunctionReward("rewards_of_test.rules:some", folder)([""] * 3, ["a", "b", "c"])
    assert math.isnan(found[0]) and found[1:] == [2, 1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rules", "names no function"),
        ("../rules:score", "names no function"),
        ("rules:score:more", "names no function"),
        ("rewards_of_test.missing:score", "no module 'rewards_of_test.missing'"),
        ("no_such_module:score", "no module 'no_such_module'"),
        ("rewards_of_test.rules:missing", "has no 'missing'"),
        ("rewards_of_test.rules:NUMBER", "not a function but int"),
        ("rewards_of_test.needy:score", "needs no_such_package_anywhere"),
        ("rewards_of_test.broken:score", "cannot be imported: SyntaxError"),
        ("json:score", "is not the one of the folder"),
    ],
)
def test_names_that_lead_nowhere(folder: Path, name: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says) as raised:
        FunctionReward(name, folder)
    assert raised.value.where or raised.value.hint


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("short", "1 numbers for 2 completions"),
        ("text", "returned str"),
        ("generator", "returned generator"),
        ("words", "'good' for completion 1"),
        ("infinite", "inf for completion 1"),
        ("failing", "ZeroDivisionError: division by zero"),
    ],
)
def test_answers_that_are_no_rewards(folder: Path, name: str, says: str) -> None:
    reward = FunctionReward(f"rewards_of_test.rules:{name}", folder)
    with pytest.raises(TrainingError, match=says) as raised:
        reward(["", ""], ["a", "b"])
    assert raised.value.where == f"rewards_of_test.rules:{name}"


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no folder"):
        FunctionReward("rules:score", tmp_path / "missing")


def test_sums() -> None:
    parts = {"model": torch.tensor([1.0, 2.0, math.nan]), "rule": torch.tensor([0.0, math.nan, math.nan])}
    found = sum_of_rewards(parts, {"rule": 3.0})
    assert found[:2].tolist() == [1, 2] and found[2].isnan()
    assert sum_of_rewards({"rule": torch.tensor([2.0]).bfloat16()}, {"rule": 0.5}).tolist() == [1]
    for wrong in (lambda: sum_of_rewards({}), lambda: sum_of_rewards(parts, {"ruel": 1.0})):
        with pytest.raises(WorkbenchError):
            wrong()


def test_a_response_without_an_end_pays() -> None:
    scores, ended = torch.tensor([1.0, 2.0]), torch.tensor([True, False])
    assert eos_penalty(scores, ended, 1.5).tolist() == [1, 0.5]
    with pytest.raises(RecipeError, match="missing end"):
        eos_penalty(scores, ended, -1)
