"""`workbench plan`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.recipe import load


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))


def test_a_page_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    layout = "tp=8,pp=2,v=2,recompute=full"
    assert main(["plan", "models/llama3-8b", "--gpus", "16", "--layout", layout]) == 0
    said = capsys.readouterr().out
    for words in (
        "weights",
        "optimizer",
        "activations",
        "bubble",
        "node 1",
        "stage 1",
        "fit, the fastest first",
    ):
        assert words in said
    assert "p1t7" in said and "MFU" in said


def test_everything_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "gpt3-175b", "--gpus", "1024", "--gpu", "A100", "--json", "--top", "3"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["cluster"]["device"] == "A100-80GB" and value["cluster"]["nodes"] == 128
    assert len(value["fitting"]) == 3 and value["chosen"]["fits"]
    assert sum(value["chosen"]["times"].values()) == pytest.approx(value["chosen"]["step_seconds"])
    assert value["chosen"] == value["fitting"][0]


def test_what_does_not_fit_is_said_with_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "models/llama3-70b", "--gpus", "8"]) == 1
    said = capsys.readouterr().out
    assert "does not fit" in said and "would fit on" in said and "of 80 GB" in said


def test_the_chosen_layout_becomes_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "planned.yaml"
    arguments = ["plan", "nano", "training.seed=7", "--gpus", "4", "--layout", "tp=2,pp=2", "--write"]
    assert main([*arguments, str(path)]) == 0
    recipe = load(str(path))
    assert (recipe.parallel.tp, recipe.parallel.pp, recipe.launch.world_size) == (2, 2, 4)
    assert recipe.training.seed == 7 and recipe.training.bf16
    assert main([*arguments, str(tmp_path / "planned.txt")]) == 2
    assert main([*arguments, str(path)]) == 2
    assert "there is such a file already" in capsys.readouterr().err
    assert main(["plan", "gpt3-175b", "--gpus", "512", "--write", str(path)]) == 2
    assert "known by its sizes alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["models/llama3-8b", "--gpus", "8", "--layout", "tp=3"], "the nearest that can be and fits"),
        (["models/llama3-8b", "--gpus", "64", "--layout", "pp=64"], "more than the model's 32 layers"),
        (["models/llama3-8b", "--gpus", "12"], "whole number of nodes"),
        (["models/llama3-8b", "--gpus", "8", "--gpu", "H1000"], "no GPU called"),
        (["models/llama3-8b", "--gpus", "16", "--interconnect", "wet-string"], "no interconnect"),
        (["lama3-8b"], "did you mean llama3-8b"),
        (["gpt3-175b", "model.hidden_size=8"], "fixed sizes"),
        (["nano", "--stack", "tower"], "no way to train"),
        ([], "a model is missing"),
    ],
)
def test_bad_input_is_one_clear_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["plan", *arguments]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.out == ""


def test_rows_beyond_the_models_positions_are_remarked_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "models/llama3-8b", "--gpus", "8", "--length", "16384"]) == 0
    assert "longer than the 8,192 positions" in capsys.readouterr().err


def test_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--list"]) == 0
    said = capsys.readouterr().out
    assert "megatron-1t" in said and "InfiniBand NDR" in said
    assert main(["plan", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"]["gpt3-175b"]["layers"] == 96
