"""`workbench estimate`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.models.estimate import estimate, this_machine
from workbench.models.estimate.this_machine import Speed
from workbench.recipe import load

Capture = pytest.CaptureFixture[str]


def test_a_page_says_everything(capsys: Capture) -> None:
    assert main(["estimate", "125m"]) == 0
    out = capsys.readouterr().out
    for part in ("parameters  123,587,328", "token embeddings", "optimizer", "a token of context", "H100"):
        assert part in out, part
    assert "not measured yet" in out and "assumed: 40%" in out
    assert max(map(len, out.splitlines())) <= 110


def test_json_has_the_same_figures(capsys: Capture) -> None:
    options = ["training.max_steps=50", "--gpu", "h100", "--price", "2", "--context", "64", "--json"]
    assert main(["estimate", "nano", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    known = estimate(load("nano", ["training.max_steps=50"])).known
    assert known is not None
    assert found["parameters"]["total"] == known.parameters.total
    assert found["memory"]["peak"] == known.memory.peak
    assert found["plan"]["tokens"] == 50 * 8 * 256
    assert found["cache"]["bytes"] == known.cache.bytes(64)
    assert [cost["device"] for cost in found["costs"]] == ["H100"] and found["costs"][0]["price"] == 2
    assert found["this_machine"] is None


def test_overrides_may_stand_behind_options(capsys: Capture) -> None:
    assert main(["estimate", "nano", "--json", "model.num_hidden_layers=2"]) == 0
    wanted = estimate(load("nano", ["model.num_hidden_layers=2"])).known
    assert wanted is not None
    assert json.loads(capsys.readouterr().out)["parameters"]["total"] == wanted.parameters.total


def test_measuring_shows_this_machine(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        returncode, stderr = 0, ""
        stdout = '{"single": 2e11, "half": 1e11, "threads": 2}'

    monkeypatch.setattr(subprocess, "run", lambda *command, **options: Done())
    assert main(["estimate", "nano", "--measure"]) == 0
    assert "not measured" not in capsys.readouterr().out
    assert this_machine.known_speed() == Speed(2e11, 1e11, 2)
    assert main(["estimate", "nano", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["costs"][0]["device"] == "this machine"


def test_a_failed_measurement_says_why(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(this_machine, "PROBE", "raise SystemExit('no torch here')")
    assert main(["estimate", "nano", "--measure"]) == 1
    assert "no torch here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--gpu", "H10O"], "did you mean H100?"),
        (["--price", "cheap"], "“cheap” is no price"),
        (["--price", "nan"], "“nan” is no price"),
        (["--context", "0"], "no whole number above 0"),
        (["model.hidden_size=9"], "divisible"),
    ],
)
def test_misuse_is_explained(options: list[str], part: str, capsys: Capture) -> None:
    assert main(["estimate", "nano", *options]) == 2
    assert part in capsys.readouterr().err


def test_a_model_of_unknown_shape_is_an_error(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "\\u001b[31mmamba"}')
    assert main(["estimate", "nano", f"model.model_name_or_path={tmp_path}"]) == 1
    error = capsys.readouterr().err
    assert "mamba" in error and "\x1b" not in error


def test_every_family_has_a_page(capsys: Capture) -> None:
    for family in ("bert", "modernbert", "xlnet", "electra", "t5", "bart"):
        assert main(["estimate", f"models/{family}-nano", "training.max_steps=5"]) == 0
        out = capsys.readouterr().out
        assert "a hint" in out and ("an encoder reads" in out) == (family not in ("t5", "bart"))
