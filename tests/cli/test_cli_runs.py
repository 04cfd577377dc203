"""`workbench runs …` on run folders made by hand."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.store.metrics import MetricsWriter
from workbench.store.process import ProcessIdentity
from workbench.store.runs import Run

MakeRun = Callable[..., Run]
Capture = pytest.CaptureFixture[str]


def test_list_shows_runs_as_a_table(make_run: MakeRun, capsys: Capture) -> None:
    make_run("alpha", step=600, max_steps=600, loss=[3.25], eval_loss=3.5, tokens_per_second=12_345.0)
    make_run("beta", state="queued")
    assert main(["runs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "name",
        "state",
        "objective",
        "step",
        "loss",
        "eval",
        "tokens/s",
        "ETA",
        "age",
    ]
    alpha = next(line for line in lines if line.startswith("alpha")).split()
    assert alpha[1:7] == ["finished", "clm", "600/600", "–", "3.500", "12.3k"]


def test_list_is_filtered_by_state_and_read_by_programs(make_run: MakeRun, capsys: Capture) -> None:
    make_run("alpha", eval_loss=float("nan"))
    make_run("beta", state="failed")
    assert main(["runs", "list", "--state", "finished", "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (only["name"], only["state"], only["eval_loss"]) == ("alpha", "finished", None)


def test_list_says_lost_when_the_process_is_gone(make_run: MakeRun, capsys: Capture) -> None:
    gone = ProcessIdentity(2**22 + 1, 1.0, ProcessIdentity.current().boot, ProcessIdentity.current().host)
    make_run("alpha", state="running", process=gone)
    main(["runs", "list", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["state"] == "lost"


def test_an_empty_list_is_not_an_error(capsys: Capture) -> None:
    assert main(["runs", "list"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "no runs yet" in err


def test_show_tells_everything(make_run: MakeRun, capsys: Capture) -> None:
    error = {
        "title": "Data",
        "message": "no such file \x1b]0;pwned\x07",
        "where": "a.txt",
        "hint": "check it",
    }
    run = make_run(
        "alpha", "training.learning_rate=0.5", state="failed", error=error, loss=[4.0, 3.0], step=2
    )
    (run.path / "checkpoint-2").mkdir()
    run.samples_path.write_text('{"step": 2, "prompt": "def ", "text": "f():\\n\\u001b[31m"}\nnot json\n{"st')
    assert main(["runs", "show", "alpha"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out
    for part in ("failed", "Data: no such file \\x1b]0;pwned\\x07", "try: check it", "checkpoint-2"):
        assert part in out
    assert r"sample at step 2: def ▸f():\n\x1b[31m" in out
    assert "training.learning_rate" in out and "0.5" in out


def test_show_as_json(make_run: MakeRun, capsys: Capture) -> None:
    make_run("alpha", "training.learning_rate=0.5", loss=[4.0, 3.0])
    assert main(["runs", "show", "alpha", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["last_metrics"] == {"loss": 3.0}
    assert facts["recipe_changes"]["training.learning_rate"] == 0.5
    assert facts["recipe_error"] is None and facts["size_bytes"] > 0


def test_show_works_on_a_damaged_run(make_run: MakeRun, capsys: Capture) -> None:
    run = make_run("alpha")
    run.status_path.write_text("{half")
    run.recipe_path.write_text("training: [")
    assert main(["runs", "show", "alpha"]) == 0
    out = capsys.readouterr().out
    assert "unknown" in out and "status.json cannot be read" in out and "not valid YAML" in out


def test_an_unknown_run_gets_a_suggestion(make_run: MakeRun, capsys: Capture) -> None:
    make_run("alpha")
    for command in ("show", "follow", "stop", "resume", "rm", "export-metrics"):
        assert main(["runs", command, "alpah"]) == 1
        out, err = capsys.readouterr()
        assert out == "" and "there is no run called “alpah”" in err and "did you mean alpha?" in err


def test_compare_shows_results_and_recipe_differences(make_run: MakeRun, capsys: Capture) -> None:
    make_run("alpha", "training.learning_rate=0.002", loss=[4.0, 2.0, 3.0], eval_at={3: 2.5}, step=3)
    make_run("beta", "training.learning_rate=0.5", loss=[4.0, 3.5], step=2, started=100.0, ended=165.0)
    assert main(["runs", "compare", "alpha", "beta"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    assert rows["result"] == ["alpha", "beta"]
    assert rows["loss"] == ["3.000", "3.500"] and rows["best_loss"] == ["2.000", "3.500"]
    assert rows["eval_loss"] == ["2.500", "–"]
    assert rows["time"] == ["–", "1m", "05s"]
    assert rows["training.learning_rate"] == ["0.002", "0.5"]
    assert "run.name" not in rows


def test_compare_aligns_a_metric_by_step(make_run: MakeRun, capsys: Capture) -> None:
    make_run("alpha", loss=[4.0, 2.0, 3.0])
    make_run("beta", loss=[5.0, 4.5])
    assert main(["runs", "compare", "alpha", "beta", "--metric", "loss", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert points[0] == {"step": 1, "values": [4.0, 5.0]}
    assert points[2] == {"step": 3, "values": [3.0, None]}
    assert main(["runs", "compare", "alpha", "beta", "--metric", "loss"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["3", "3.000", "–"]


def test_compare_thins_out_long_series_and_keeps_the_end(make_run: MakeRun, capsys: Capture) -> None:
    for name in ("alpha", "beta"):
        make_run(name, loss=[float(step) for step in range(1, 1001)])
    assert main(["runs", "compare", "alpha", "beta", "--metric", "loss"]) == 0
    out, err = capsys.readouterr()
    assert 30 < len(out.splitlines()) < 50 and out.splitlines()[-1].split()[0] == "1,000"
    assert "of 1000 steps" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alpha"], "two runs or more"),
        (["alpha", "alpha", "--metric", "lss"], "did you mean loss?"),
        (["alpha", "alpha", "--metric", "zzz"], "known here: loss"),
    ],
)
def test_compare_misused(arguments: list[str], message: str, make_run: MakeRun, capsys: Capture) -> None:
    make_run("alpha", loss=[1.0])
    assert main(["runs", "compare", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def resumed(make_run: MakeRun) -> Run:
    """A run that was killed at step 4 and went on from its checkpoint of step 2."""
    run = make_run("alpha")
    with MetricsWriter(run.metrics_path) as writer:
        for step in (1, 2, 3, 4):
            writer.write({"step": step, "time": 10.5 + step, "loss": 5.0 - step})
        writer.resume(2)
        writer.write({"step": 3, "time": 20.0, "loss": float("nan"), "eval_loss": 2})
    return run


def test_export_leaves_out_what_was_overtaken(resumed: Run, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "out.csv"
    assert main(["runs", "export-metrics", "alpha", "--output", str(target)]) == 0
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert rows[0] == {"step": "1", "time": "11.5", "loss": "4.0", "eval_loss": ""}
    assert (rows[2]["loss"], rows[2]["eval_loss"]) == ("nan", "2")
    out, err = capsys.readouterr()
    assert out == "" and "3 records" in err


def test_export_as_json_lines_to_standard_output(
    resumed: Run, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["runs", "export-metrics", "alpha", "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert lines[-1] == {"step": 3, "time": 20.0, "loss": None, "eval_loss": 2}


def test_export_as_parquet(resumed: Run, tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    target = tmp_path / "out.parquet"
    assert main(["runs", "export-metrics", "alpha", "-o", str(target)]) == 0
    rows = parquet.read_table(target).to_pylist()
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[0]["eval_loss"] is None and rows[2]["loss"] != rows[2]["loss"]


def test_export_misused(resumed: Run, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert main(["runs", "export-metrics", "alpha", "-o", "/dev/null"]) == 2
    assert Path("/dev/null").is_char_device()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["runs", "export-metrics", "alpha", "--format", "parquet"]) == 2
    resumed.metrics_path.unlink()
    assert main(["runs", "export-metrics", "alpha"]) == 1
    assert "has logged nothing yet" in capsys.readouterr().err


def test_rm_deletes_after_a_yes(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    runs = [make_run("alpha"), make_run("beta")]
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    answers = iter(["\n", "yes\n"])
    monkeypatch.setattr(sys.stdin, "readline", lambda: next(answers))
    assert main(["runs", "rm", "alpha", "beta"]) == 1
    assert all(run.path.exists() for run in runs)
    assert main(["runs", "rm", "alpha", "beta"]) == 0
    assert not any(run.path.exists() for run in runs)
    out, err = capsys.readouterr()
    assert out == "alpha\nbeta\n" and "delete alpha, beta (" in err


def test_rm_without_a_terminal_needs_yes(make_run: MakeRun, capsys: Capture) -> None:
    run = make_run("alpha")
    assert main(["runs", "rm", "alpha"]) == 2
    assert run.path.exists() and "add --yes" in capsys.readouterr().err
    assert main(["runs", "rm", "alpha", "--yes", "alpha"]) == 0
    assert not run.path.exists()


def test_rm_deletes_nothing_when_one_is_running_or_unknown(make_run: MakeRun, capsys: Capture) -> None:
    idle = make_run("idle")
    make_run("busy", state="running", process=ProcessIdentity.current())
    assert main(["runs", "rm", "idle", "busy", "--yes"]) == 1
    assert "is still running; nothing was deleted" in capsys.readouterr().err
    assert main(["runs", "rm", "idle", "nothing", "--yes"]) == 1
    assert idle.path.exists()


def test_wrong_states_are_said(make_run: MakeRun, capsys: Capture) -> None:
    make_run("done")
    make_run("fresh", state="queued")
    make_run("busy", state="running", process=ProcessIdentity.current())
    for arguments, message in (
        (["stop", "done"], "“done” is not running (it is finished)"),
        (["stop", "done", "--wait", "1"], "“done” is not running"),
        (["resume", "done"], "nothing to resume"),
        (["resume", "busy"], "“busy” is running already"),
        (["follow", "fresh"], "workbench runs resume fresh starts it"),
    ):
        assert main(["runs", *arguments]) == 1
        out, err = capsys.readouterr()
        assert out == "" and message in err
