"""`workbench predict` and `workbench eval`: what they ask of the process, what they make of its events."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.cli import main, prediction
from workbench.cli.evaluate import page
from workbench.errors import RunError, UsageError
from workbench.store.runs import Run

FAKE = """
import json, sys
request = json.loads(sys.stdin.read())
def say(event, **content):
    print(json.dumps({"event": event, **content}), flush=True)
"""


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """A stand-in for the process: runs some lines, and keeps the request it was given."""
    real = subprocess.Popen

    def install(code: str) -> Path:
        kept = tmp_path / "request.json"
        script = tmp_path / "child.py"
        script.write_text(FAKE + f"open({str(kept)!r}, 'w').write(json.dumps(request))\n" + code)

        def start(command: list[str], **options: Any) -> Any:
            return real([sys.executable, str(script)], **options)

        monkeypatch.setattr(subprocess, "Popen", start)
        return kept

    return install


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder that looks like a model's."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


def test_predictions_are_json_lines(child: Any, model: str, capsys: Any) -> None:
    kept = child('say("row", row={"text": "a", "prediction": "é"})\nsay("row", row={"prediction": 2})')
    assert main(["predict", model, "in.csv", "--columns", "text,label", "--max-length", "64"]) == 0
    out = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert out == [{"text": "a", "prediction": "é"}, {"prediction": 2}]
    request = json.loads(kept.read_text())
    assert request == {
        "command": "predict",
        "model": model,
        "file": "in.csv",
        "columns": ["text", "label"],
        "max_length": 64,
        "batch_size": 32,
        "device": "auto",
    }


def test_an_output_file_is_whole_or_not_there(child: Any, model: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out.jsonl"
    error = {"title": "Data", "message": "bad", "where": "in.csv:2", "hint": "mend it", "exit_code": 1}
    child(f'say("row", row={{}})\nsay("error", **{error!r})')
    assert main(["predict", model, "in.csv", "--output", str(out)]) == 1
    assert "Data: bad\n  where: in.csv:2\n  try:   mend it" in capsys.readouterr().err
    assert not list(tmp_path.glob("*out.jsonl*"))
    child('say("progress", what="records", done=1, total=None)\nsay("row", row={"prediction": 1})')
    assert main(["predict", model, "in.csv", "--output", str(out)]) == 0
    assert json.loads(out.read_text()) == {"prediction": 1}
    assert "1 predictions in" in capsys.readouterr().err


def test_a_process_that_dies_is_explained_by_its_last_words(child: Any, model: str, capsys: Any) -> None:
    child('print("Segmentation \\x1b[31mfault", file=sys.stderr)\nsys.exit(7)')
    assert main(["predict", model, "in.csv"]) == 1
    told = capsys.readouterr().err
    assert "ended with code 7" in told and "Segmentation \\x1b[31mfault" in told


def test_columns() -> None:
    assert prediction.columns_of(None) is None
    assert prediction.columns_of("text, label") == ["text", "label"]
    assert prediction.columns_of("text=review,label=stars") == {"text": "review", "label": "stars"}
    with pytest.raises(UsageError, match="half a list"):
        prediction.columns_of("text,label=stars")


def test_a_run_means_its_final_model(make_run: Callable[..., Run]) -> None:
    run = make_run("one")
    with pytest.raises(RunError, match="no final model"):
        prediction.model_folder("one")
    run.final_path.mkdir()
    assert prediction.model_folder("one") == (str(run.final_path), run.path)
    assert prediction.model_folder("org/model") == ("org/model", None)
    with pytest.raises(RunError, match="no run called “onne”") as caught:
        prediction.model_folder("onne")
    assert "did you mean one?" in caught.value.hint


RESULT = {
    "objective": "classification",
    "model": "m",
    "device": "cpu",
    "rows": 3,
    "seconds": 0.5,
    "metrics": {"eval_loss": 0.5, "eval_accuracy": 2 / 3},
    "classes": [{"label": "a\x1b", "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2}],
    "confusion": {"labels": ["a\x1b", "b"], "matrix": [[1, 1], [0, 1]]},
}


def test_eval_of_a_run_takes_its_recipe_with_changes(
    child: Any, make_run: Callable[..., Run], capsys: Any
) -> None:
    run = make_run("one")
    run.final_path.mkdir()
    kept = child(f'say("result", **{RESULT!r})')
    assert main(["eval", "one", "data.eval_sources=[other.txt]", "--batch-size", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == RESULT
    request = json.loads(kept.read_text())
    assert request["command"] == "evaluate_recipe" and request["run"] == str(run.path)
    assert request["model"] == str(run.final_path)
    assert request["recipe"]["data"]["eval_sources"][0]["path"] == "other.txt"
    assert request["recipe"]["training"]["per_device_eval_batch_size"] == 8
    assert request["recipe"]["model"]["model_name_or_path"] is None


def test_eval_of_a_folder_takes_a_file_or_a_recipe(
    child: Any, model: str, tmp_path: Path, capsys: Any
) -> None:
    kept = child(f'say("result", **{RESULT!r})')
    assert main(["eval", model, "test.tsv", "--columns", "text,label"]) == 0
    assert json.loads(kept.read_text())["command"] == "evaluate_file"
    assert main(["eval", model, "nano"]) == 0
    request = json.loads(kept.read_text())
    assert request["recipe"]["model"]["model_name_or_path"] == model and request["run"] is None
    capsys.readouterr()
    assert main(["eval", model]) == 2
    assert "does not say what it is to be evaluated on" in capsys.readouterr().err
    assert main(["eval", model, "a.tsv", "b.tsv"]) == 2
    assert main(["eval", model, "a.tsv", "training.seed=1"]) == 2


def test_the_page_shows_classes_and_confusion() -> None:
    text = page(RESULT)
    assert "eval_accuracy  0.6667" in text
    assert "a\\x1b      1.000   0.500  0.667        2" in text
    assert "\x1b" not in text
    assert text.splitlines()[-1].split() == ["b", "0", "1"]


@pytest.mark.slow
def test_the_real_process_explains_a_model_that_is_not_there(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    assert main(["predict", str(tmp_path / "none" / "model"), str(tmp_path / "in.txt")]) == 1
    assert "Model: there is no such model folder" in capsys.readouterr().err
