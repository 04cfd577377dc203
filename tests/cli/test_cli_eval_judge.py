"""`workbench eval --judge`: a judge at a server, verdicts shown, compared, gone on with after a kill."""

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
from scripted_server import ScriptedServer, last_message
from summing_model import sum_in

from workbench.cli import main
from workbench.store.evaluations import find_evaluation, list_evaluations

Serve = Callable[..., ScriptedServer]


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Forty sums, and a prompt for them."""
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text('user: "{{ question }}"\n')
    return str(path)


def both(score: Callable[[int], Any]) -> Callable[[dict[str, Any], int], str]:
    """A script for two models: one that adds, and a judge called wise with a score for each sum."""

    def script(body: dict[str, Any], index: int) -> str:
        text = last_message(body)
        if body["model"] != "wise":
            return sum_in(text, lambda n: False)
        n = int(text.split("What is ")[1].split()[0])
        said = score(n)
        return (
            "\x1b[2Jno idea"
            if said is None
            else json.dumps({"reasons": f"\x1b[31mof {n} [b]", "score": said})
        )

    return script


def command(data: str, where: str, *more: str) -> list[str]:
    prompt = str(Path(data).with_suffix(".yaml"))
    words = ["eval", "--prompt", prompt, "--data", data, "--answer", "answer"]
    return [*words, "--model", f"{where}#adds", *more]


def test_a_judge_scores_and_its_reasons_are_shown(serve: Serve, data: str, where: str, capsys: Any) -> None:
    server = serve(both(lambda n: None if n == 9 else 1 + n % 5), models=("adds", "wise"))
    arguments = command(data, where, "--judge", f"{where}#wise", "--rubric", "Be right.", "--name", "one")
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "judge              wise, from 1 to 5" in out and "score              2.95  [" in out
    assert "1 of 40 answers: malformed, not in the score" in out and "accuracy" not in out
    assert "warning" not in err
    bodies = [body for body in server.bodies if body["model"] == "wise"]
    assert {body["temperature"] for body in bodies} == {0.0} and {body["seed"] for body in bodies} == {0}
    assert bodies[0]["response_format"]["json_schema"]["schema"]["required"] == ["reasons", "score"]
    assert all("<rubric>\nBe right.\n</rubric>" in last_message(body) for body in bodies)
    assert main(["evals", "show", "one", "--row", "3"]) == 0
    out = capsys.readouterr().out
    assert "row 3  judged" in out and "score: 4, says wise\n  \\x1b[31mof 3 [b]" in out
    assert "verdict [0]: wise says: 4 of 1–5" in out and "\x1b" not in out
    assert main(["evals", "show", "one", "--wrong"]) == 0
    out = capsys.readouterr().out
    assert "row 9  without a verdict" in out and "malformed: there is no JSON in it" in out
    assert "  \\x1b[2Jno idea" in out and "row 4  " not in out and "\x1b" not in out
    assert main(["evals", "list"]) == 0
    assert "2.95 of 1–5" in capsys.readouterr().out
    asked = len(server.bodies)
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(server.bodies) == asked and told["judge"]["malformed"] == 1


def test_the_prompt_file_may_name_the_judge(
    serve: Serve, data: str, where: str, tmp_path: Path, capsys: Any
) -> None:
    serve(both(lambda n: n % 11), models=("adds", "wise"))
    (tmp_path / "sums.yaml").write_text(
        f'user: "{{{{ question }}}}"\njudge: {{model: "{where}#wise", rubric: Short., scale: [0, 10]}}\n'
    )
    (tmp_path / "rubric.txt").write_text("Long.")
    for more, rubric, scale in (
        (["--metric", "judge"], "Short.", [0, 10]),
        (["--rubric", f"@{tmp_path}/rubric.txt", "--scale", "0-20"], "Long.", [0, 20]),
    ):
        assert main(command(data, where, *more, "--limit", "5", "--json")) == 0
        told = json.loads(capsys.readouterr().out)
        settings = find_evaluation(told["name"]).settings()
        assert (settings["judge"]["rubric"], settings["judge"]["scale"]) == (rubric, scale)
        assert told["judge"]["score"] == 2.0
    # Without being asked for, the judge in the file judges nothing.
    assert main(command(data, where, "--limit", "5", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["judge"] is None


def test_two_judged_evaluations_are_compared_on_their_scale(
    serve: Serve, data: str, where: str, capsys: Any
) -> None:
    scores = {"one": 2, "two": 3}
    now = "one"
    serve(both(lambda n: scores[now] + n % 2), models=("adds", "wise"))
    for now in scores:
        assert main(command(data, where, "--judge", f"{where}#wise", "--limit", "8", "--name", now)) == 0
    rubric = ["--rubric", "Other.", "--name", "other"]
    assert main(command(data, where, "--judge", f"{where}#wise", "--limit", "8", *rubric)) == 0
    capsys.readouterr()
    assert main(["evals", "compare", "one", "two"]) == 0
    out = capsys.readouterr().out
    assert "2.50  [" in out and "3.50  [" in out and "+1.00 points, the same on every row" in out
    assert "warning" not in out and "%  [" not in out
    assert main(["evals", "compare", "two", "other"]) == 0
    assert "warning: they were judged otherwise: other rubric" in capsys.readouterr().out


def test_a_model_that_judges_itself_is_warned_of(serve: Serve, data: str, where: str, capsys: Any) -> None:
    serve(both(lambda n: 5), models=("wise",))
    more = ["--judge", f"{where}#wise", "--limit", "2"]
    arguments = [word.replace("#adds", "#wise") for word in command(data, where, *more)]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "warning: the judge is the model that it judges" in err
    assert "note: the judge is the model that it judges" in out


def test_killed_and_started_again_it_has_the_verdicts_of_one_that_was_not(
    serve: Serve, data: str, where: str, capsys: Any
) -> None:
    server = serve(both(lambda n: 1 + n % 5), models=("adds", "wise"), seconds=0.004)
    arguments = command(data, where, "--judge", f"{where}#wise", "--concurrency", "3", "--json")
    assert main([*arguments, "--name", "whole"]) == 0
    whole = json.loads(capsys.readouterr().out)
    killed = [sys.executable, "-m", "workbench", *arguments, "--name", "killed"]
    process = subprocess.Popen(killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    results = Path(os.environ["WORKBENCH_HOME"]) / "evaluations" / "killed" / "results.jsonl"
    deadline = time.monotonic() + 60
    while not results.exists() or results.read_bytes().count(b"\n") < 8:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    done, asked = len(find_evaluation("killed").transcripts()), len(server.bodies)
    assert 8 <= done < 40
    assert main([*arguments, "--name", "killed"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(server.bodies) - asked == 2 * (40 - done)
    assert told["judge"] == whole["judge"] and told["judge"]["verdicts"] == 40


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--metric", "judge"], 2, "no model is named that judges"),
        (["--judge", "J", "--metric", "exact"], 2, "is for answers that are judged"),
        (["--judge", "J", "--scale", "5-1"], 2, "from the worst score up to the best"),
        (["--judge", "J", "--scale", "five"], 2, "scale such as 1-5"),
        (["--judge", "J", "--rubric", "@/no/such/file"], 2, "the rubric cannot be read"),
        (["--judge", "./no-such-model"], 1, "no such model"),
    ],
)
def test_misuse_is_explained(
    serve: Serve, data: str, where: str, capsys: Any, more: list[str], code: int, message: str
) -> None:
    server = serve(both(lambda n: 5), models=("adds", "wise"))
    assert main(command(data, where, *more)) == code
    assert message in capsys.readouterr().err
    assert server.bodies == [] and list_evaluations() == []


def test_the_help_tells_of_the_biases_of_judges(capsys: Any) -> None:
    assert main(["eval", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "known biases: they prefer answers of their own kind" in out
