"""`workbench context …`: what is asked for, what is refused, what is shown; the reading itself is
elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from long_results import content_of

from workbench.cli import main, parser, prediction
from workbench.cli.context_eval import request_of
from workbench.cli.models_of import engine_options
from workbench.errors import UsageError
from workbench.store import long_context
from workbench.store.runs import Run
from workbench.tui.playground.engine_draft import EngineDraft

MakeRun = Callable[..., Run]
Capture = pytest.CaptureFixture[str]


def request(*words: str) -> dict[str, Any]:
    args = parser.parse(["context", "eval", *words])
    return request_of(args, *prediction.model_folder(args.model))


def finished(make_run: MakeRun) -> Run:
    run = make_run("small-1", state="finished")
    run.final_path.mkdir()
    return run


def test_a_run_is_read_on_what_it_held_out_and_other_models_on_the_library(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = finished(make_run)
    asked = request("small-1", "--rope-scaling", "all", "--rope-factor", "4", "--lengths", "256,1_024")
    assert asked["model"] == str(run.final_path) and asked["recipe"]["model"]["family"] == "llama"
    assert (asked["sources"], asked["style"], asked["lengths"]) == ([], "text", [256, 1024])
    assert [method.get("method") for method in asked["methods"]] == [None, "linear", "ntk", "dynamic", "yarn"]
    assert all(method["factor"] == 4.0 for method in asked["methods"][1:])
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    asked = request(str(folder))
    assert (asked["recipe"], asked["sources"], asked["style"]) == (None, ["stdlib:"], "classic")
    assert asked["methods"] == [{}] and asked["lengths"] is None
    asked = request(str(folder), "--data", "a.txt", "--data", "b.txt", "--style", "text", "--no-passkey")
    assert asked["sources"] == ["a.txt", "b.txt"] and asked["positions"] and not asked["passkeys"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rope-scaling", "yrn"), "did you mean yarn?"),
        (("--rope-factor", "4"), "a factor is of a method"),
        (("--lengths", "256,x"), "are no lengths"),
        (("--no-positions", "--no-passkey"), "nothing is left to measure"),
        (("--trials", "0"), "no whole number above 0"),
    ],
)
def test_what_makes_no_sense_is_misuse(
    make_run: MakeRun, capsys: Capture, words: tuple[str, ...], said: str
) -> None:
    finished(make_run)
    assert main(["context", "eval", "small-1", *words]) == 2
    assert said in capsys.readouterr().err


def test_results_are_listed_and_shown_beside_each_other(make_run: MakeRun, capsys: Capture) -> None:
    assert main(["context", "list"]) == 0
    assert "Nothing was evaluated" in capsys.readouterr().err
    run = finished(make_run)
    for _ in range(2):
        long_context.save(content_of(), str(run.final_path), run.path)
    assert main(["context", "list"]) == 0
    assert "small-1:2" in capsys.readouterr().out
    assert main(["context", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1]["variants"] == ["as it is", "YaRN ×4"]
    assert main(["context", "show", "small-1:1", "small-1"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert "\x1b" not in out and "A  as it is  small-1:1" in lines and "D  YaRN ×4  small-1:2" in lines
    assert (
        lines.index("beyond the 256 tokens that it learnt from")
        == next(place for place, line in enumerate(lines) if line.startswith("256 to 512")) - 1
    )
    # Half of the interval of a perplexity of e²: e^2.1 − e^1.9 = 1.48.
    assert " 7.39 ±0.74" in out
    assert "B - A  -0.250  -0.300 to -0.200" in out
    assert "A      256 1,024    B      256 1,024" in out
    assert "  0% ██100     0      0% ██100 ▓▓ 75" in out
    assert main(["context", "show", "small-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "small-1:2"
    assert main(["context", "show", "nothing"]) == 1
    (run.path / "context" / "3.json").write_text(
        json.dumps(content_of() | {"variants": [{}], "created": 1, "run": "small-1"})
    )
    capsys.readouterr()
    assert main(["context", "show", "small-1"]) == 1
    assert "a result is damaged" in capsys.readouterr().err


def test_pass_keys_take_a_length_and_a_file_that_is_read_as_what_it_is(
    make_run: MakeRun, capsys: Capture, tmp_path: Path
) -> None:
    finished(make_run)
    there = tmp_path / "there.jsonl"
    there.write_text("mine")
    for words, said in (
        ((str(there),), "there is a file of this name"),
        (("keys.txt",), "read as another format"),
        (("keys.jsonl", "--length", "9-3"), "is no length"),
        (("keys.jsonl", "--count", "0"), "at least 1"),
    ):
        assert main(["context", "passkeys", *words, "--tokenizer", "small-1"]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rope-scaling", "yarn"), "--rope-scaling yarn needs --rope-factor"),
        (("--rope-factor", "2"), "--rope-scaling not how"),
        (("--rope-scaling", "ntk", "--rope-factor", "0.5"), "--rope-factor 0.5 would shorten the context"),
        (("--rope-scaling", "ntk", "--rope-factor", "four"), "invalid number value: 'four'"),
    ],
)
def test_an_engine_is_not_started_with_an_extension_that_cannot_be(
    capsys: Capture, words: tuple[str, ...], said: str
) -> None:
    assert main(["serve", "model", *words]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(UsageError, match=said):
        engine_options(" ".join(words))


def test_options_of_an_extension_and_of_a_cache_reach_the_engine() -> None:
    assert engine_options("--kv-dtype int8") == ("--kv-dtype", "int8")
    assert engine_options("--kv-dtype auto") == ()
    words = ["--rope-scaling", "yarn", "--rope-factor", "4.0", "--rope-original-length", "256"]
    assert engine_options(" ".join(words)) == tuple(words)
    draft = EngineDraft(words)
    assert draft.options == tuple(words) and not draft.problems
    fields = {field.name: field for field in draft.fields()}
    draft.set_value(fields["rope_factor"], 0.5)
    assert "would shorten" in draft.problems["engine.rope_factor"]
    draft.set_value(fields["rope_scaling"], None)
    assert "rope_scaling not how" in draft.problems["engine.rope_scaling"]
