"""`workbench eval --prompt` and `workbench evals`: the numbers, killed and gone on, compared and shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Refused, ScriptedServer, last_message
from summing_model import sum_in

from workbench.cli import main
from workbench.store.evaluations import find_evaluation, list_evaluations

Serve = Callable[..., ScriptedServer]


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """Serve sums at `where`: wrong where it is said so, refused where it is said so."""

    def begin(
        wrong: Callable[[int], bool] = lambda n: False,
        refused: Callable[[str], bool] = lambda text: False,
        seconds: float = 0.0,
    ) -> ScriptedServer:
        def script(body: dict[str, Any], index: int) -> str:
            text = last_message(body)
            if refused(text):
                raise Refused("too much for me", 500)
            return sum_in(text, wrong)

        return serve(script, seconds=seconds)

    return begin


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Forty sums as GSM8K has them, and a prompt for them."""
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {n} + {n}?", "answer": f"so\n#### {2 * n}"} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text('user: "{{ question }}"\nanswer: number\n')
    return str(path)


def command(data: str, where: str, *more: str) -> list[str]:
    prompt = str(Path(data).with_suffix(".yaml"))
    return ["eval", "--prompt", prompt, "--data", data, "--answer", "answer", "--model", where, *more]


def told_by(arguments: list[str], capsys: Any) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_the_numbers_are_exact(serve: Serve, data: str, where: str, capsys: Any) -> None:
    server = serve(lambda n: n % 5 == 0)
    told = told_by(command(data, where, "--concurrency", "3"), capsys)
    assert (told["accuracy"], told["done"], told["failed"]) == (0.8, 40, 0)
    assert told["interval"]["low"] < 0.8 < told["interval"]["high"]
    assert server.most == 3 and len(server.bodies) == 40
    again = told_by(command(data, where), capsys)
    assert again["accuracy"] == 0.8 and again["interval"] == told["interval"]
    assert len(server.bodies) == 40  # all of it was done before
    assert main(command(data, where)) == 0
    out, err = capsys.readouterr()
    assert "accuracy           80.0%  [" in out and "95%, bootstrap, BCa" in out
    assert "all of it was done before" in err


def test_limits_samples_and_names(serve: Serve, data: str, where: str, capsys: Any) -> None:
    server = serve(lambda n: n >= 5)
    told = told_by(command(data, where, "--limit", "10", "--name", "ten"), capsys)
    assert (told["name"], told["items"], told["accuracy"]) == ("ten", 10, 0.5)
    more = told_by(command(data, where, "--limit", "20", "--name", "ten"), capsys)
    assert more["accuracy"] == 0.25 and len(server.bodies) == 20
    assert main(command(data, where, "--name", "ten", "-t", "cot")) == 2
    err = capsys.readouterr().err
    assert 'begun with other settings: technique.parts: [{"zero_shot": {}}] → [{"cot"' in err
    sampled = told_by(command(data, where, "--sample", "8", "--seed", "3"), capsys)
    rows = {record["row"] for record in find_evaluation(sampled["name"]).transcripts()}
    assert len(rows) == 8 and rows != set(range(8))


def test_killed_and_started_again_it_has_the_numbers_of_one_that_was_not(
    serve: Serve, data: str, where: str, capsys: Any
) -> None:
    server = serve(lambda n: n % 3 == 0, seconds=0.004)
    technique = ["-t", "{self_consistency: {samples: 3, early_stop: false}}", "--concurrency", "3"]
    arguments = command(data, where, *technique)
    whole = told_by([*arguments, "--name", "whole"], capsys)
    before = len(server.bodies)
    killed = [sys.executable, "-m", "workbench", *arguments, "--name", "killed"]
    for least in (5, 12):
        process = subprocess.Popen(killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        results = Path(os.environ["WORKBENCH_HOME"]) / "evaluations" / "killed" / "results.jsonl"
        deadline = time.monotonic() + 60
        while not results.exists() or results.read_bytes().count(b"\n") < least:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    done = len(find_evaluation("killed").transcripts())
    assert 12 <= done < 40
    assert main(["evals", "list"]) == 0
    assert "lost" in capsys.readouterr().out
    with results.open("ab") as file:
        file.write(b'{"id": "39", "row": 39')
    asked = len(server.bodies)
    told = told_by([*arguments, "--name", "killed"], capsys)
    assert len(server.bodies) - asked == 40 - done
    # Nothing is asked twice but what was under way when it was killed.
    assert len(server.bodies) - before <= 40 + 2 * 3
    for one in (told, whole):
        one["cost"].pop("seconds")
        del one["name"], one["path"]
    assert told == whole
    assert told["accuracy"] == 26 / 40 and told["agreement"] == 1.0


def test_an_interrupt_keeps_what_was_done(serve: Serve, data: str, where: str, capsys: Any) -> None:
    server = serve(seconds=0.05)
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", *command(data, where, "--name", "one", "--concurrency", "2")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while len(server.bodies) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == b"" and b"Traceback" not in err
    assert find_evaluation("one").summary()["state"] == "stopped"
    assert 0 < len(find_evaluation("one").transcripts()) < 40
    assert main(["evals", "list", "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["name"], line["state"], line["items"]) == ("one", "stopped", 40)


def test_failures_are_told_apart(
    serve: Serve, data: str, where: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.prompting.evaluation import run

    monkeypatch.setattr(run, "WAIT_SECONDS", 0.0)
    serve(refused=lambda text: "7 + 7" in text)
    assert main(command(data, where, "--name", "one")) == 0
    out = capsys.readouterr().out
    assert "39 of 40" in out and "1, not in the numbers" in out and "100.0%" in out
    assert main(["evals", "show", "one"]) == 0
    assert "1, not in the numbers" in capsys.readouterr().out


def test_two_evaluations_are_compared(serve: Serve, data: str, where: str, capsys: Any) -> None:
    serve(lambda n: n % 2 == 0)
    assert main(command(data, where, "--name", "first")) == 0
    Path(where).unlink()
    serve(lambda n: n in (1, 2))
    assert main(command(data, where, "--name", "second")) == 0
    capsys.readouterr()
    assert main(["evals", "compare", "first", "second"]) == 0
    out = capsys.readouterr().out
    # 19 sums are right only in the second, the one of 1 only in the first, the one of 2 in neither.
    assert "+45.0 points" in out and "(19 gained, 1 lost)" in out
    assert "p = 4.005e-05" in out
    assert "both right     19" in out and "both wrong      1" in out
    rows = [line.split(maxsplit=3) for line in out.splitlines()[-20:]]
    assert ["1", "1", "0", "What is 1 + 1?"] in rows and ["4", "0", "1", "What is 4 + 4?"] in rows
    assert main(["evals", "compare", "first", "second", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["evaluations"] == ["first", "second"] and len(told["differing"]) == 20
    assert told["mcnemar"]["p"] == pytest.approx(2 * (1 + 20) / 2**20)
    assert main(["evals", "compare", "first", "secnd"]) == 1
    assert "did you mean second?" in capsys.readouterr().err


def test_transcripts_are_shown_and_searched(serve: Serve, data: str, where: str, capsys: Any) -> None:
    serve(lambda n: n == 3)
    assert main(command(data, where, "--name", "one")) == 0
    capsys.readouterr()
    assert main(["evals", "show", "one", "--wrong"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("row 3  wrong\nWhat is 3 + 3?\nreference: 6\nanswer: 7\nrequest")
    assert "→ Let me see. The answer is 7." in out
    assert main(["evals", "show", "one", "--search", "THE ANSWER IS 7.", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["id"] == "3"
    assert main(["evals", "show", "one", "--row", "0"]) == 0
    assert capsys.readouterr().out.startswith("row 0  right")
    assert main(["evals", "show", "one", "--row", "99"]) == 1
    assert main(["evals", "show", "one", "--all", "--json"]) == 0
    capsys.readouterr()
    assert main(["evals", "show", "one", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["accuracy"] == 39 / 40 and told["settings"]["model"]["name"] == "scripted"


def test_what_models_and_data_say_is_literal(serve: Serve, where: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "a\x1b[2Jb.csv"
    path.write_text('text,label\n"\x1b[31m2 + 2 [bold]",0\n')
    server = serve()
    server.models = ("evil\x1b[2J",)
    arguments = ["eval", "-p", "classify-sentiment", "--data", str(path), "--model", where]
    assert main([*arguments, "--answer", "label", "--map", "0=negative", "-t", "zero_shot"]) == 0
    name = list_evaluations()[0].name
    assert main(["evals", "list"]) == main(["evals", "show", name]) == 0
    assert main(["evals", "show", name, "--all"]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\\x1b[31m2 + 2 [bold]" in out and "evil\\x1b[2J" in out
    assert main([*arguments, "--answer", "label"]) == 1
    assert "a\\x1b[2Jb.csv:2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--answer", "anser"], 1, "did you mean answer?"),
        (["--limit", "1", "--sample", "2"], 2, "both choose rows"),
        (["--map", "x"], 2, "maps nothing"),
        (["--technique", "cott"], 2, "did you mean cot?"),
        (["--name", "../x"], 1, "cannot be the name"),
        (["--columns", "question=text"], 1, "the columns are question, answer"),
        (["--temperature", "-1"], 2, "temperature"),
        (["--technique", "{tools: {tools: ['mcp:files']}}"], 2, "--yes allows it"),
        (["positional"], 2, "the model is given twice"),
    ],
)
def test_misuse_is_explained(
    serve: Serve, data: str, where: str, capsys: Any, more: list[str], code: int, message: str
) -> None:
    server = serve()
    assert main(command(data, where, *more)) == code
    assert message in capsys.readouterr().err
    assert server.bodies == [] and list_evaluations() == []


def test_half_a_command_is_explained(data: str, capsys: Any) -> None:
    for words in ([], ["list"], ["compare", "a", "b"]):
        assert main(["eval", *words]) == 2
        err = capsys.readouterr().err
        assert "name a MODEL, or a --prompt" in err and "workbench evals list" in err
    assert main(["eval", "--prompt", "qa"]) == 2
    assert "needs a data set" in capsys.readouterr().err
    assert main(["eval", "--data", data]) == 2
    assert "needs a prompt" in capsys.readouterr().err
    assert main(["evals", "list"]) == 0
    assert "no evaluations yet" in capsys.readouterr().err
