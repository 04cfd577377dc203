"""`workbench rank new`, `generate` and `delete` against a scripted server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_server import Refused, ScriptedServer, last_message, listening

from workbench.cli import main
from workbench.prompting.ranking.control import stop_generating, wait_until_over
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import find_session, list_sessions

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def server(tmp_path: Path, home: Path) -> Iterator[ScriptedServer]:
    """A server `box` of two models, in `servers.yaml`."""
    served = ScriptedServer(
        lambda body, index: f"{body['model']} {last_message(body)} {index}", ("big", "small")
    )
    home.mkdir()
    (home / "servers.yaml").write_text(f"servers:\n  - {{name: box, socket: {tmp_path / 's'}}}\n")
    with listening(served, tmp_path / "s"):
        yield served
        with Database() as database:
            for session in list_sessions(database):
                stop_generating(session)
                wait_until_over(session, 10)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(4)))
    return path


def test_a_session_is_made_answered_exported_and_deleted(
    server: ScriptedServer, prompts: Path, capsys: Capture
) -> None:
    both = ["--model", "box/big", "--model", "box/small"]
    command = ["rank", "new", "one", "--prompts", str(prompts), *both, "--limit", "3", "--seed", "4"]
    assert main([*command, "--temperature", "0.5,1.0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"session": "one", "prompts": 3, "items": 0, "seed": 4, "models": ["big", "small"]}
    assert main(["rank", "generate", "one"]) == 0
    assert "finished: 12 of 12 answers" in capsys.readouterr().out
    assert {body["temperature"] for body in server.bodies} == {0.5, 1.0}
    assert main(["rank", "export", "one", "--undecided"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # Answers are numbered as they come in, and several are under way at once.
    assert len(rows) == 3 and sorted(rows[0]["models"]) == ["big", "big", "small", "small"]
    assert main(command) == 2 and "already" in capsys.readouterr().err
    assert main(["rank", "delete", "one"]) == 2 and "--yes" in capsys.readouterr().err
    assert main(["rank", "delete", "one", "--yes"]) == 0
    assert main(["rank", "generate", "one"]) == 2


def test_why_nothing_is_generated_is_said(server: ScriptedServer, prompts: Path, capsys: Capture) -> None:
    def refuse(body: dict[str, object], index: int) -> str:
        raise Refused("no such model", 404)

    server.script = refuse
    words = ["rank", "new", "one", "--prompts", str(prompts), "-m", "box/big", "-n", "2", "--no-generate"]
    assert main(words) == 0
    assert server.bodies == []
    assert main(["rank", "generate", "one"]) == 1
    assert "no such model" in capsys.readouterr().err


def test_completions_that_are_there_are_a_session_without_a_generator(
    tmp_path: Path, home: Path, capsys: Capture
) -> None:
    path = tmp_path / "done.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completions": ["1", "2"]}) + "\n")
    assert main(["rank", "new", "done", "--completions", str(path), "--criteria", "brevity"]) == 0
    assert "1 sets of answers" in capsys.readouterr().err
    with Database() as database:
        assert find_session(database, "done").settings.criteria == "brevity"
    assert main(["rank", "generate", "done"]) == 2
    assert "came from a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["one"], "what is to be ranked is missing"),
        (["--prompts", "p.jsonl"], "the session needs a name"),
        (["one", "--prompts", "p.jsonl", "--completions", "c.jsonl"], "answers are either there"),
        (["one", "--prompts", "p.jsonl", "--temperature", "warm"], "--temperature warm is no number"),
        (["one", "--prompts", "no.jsonl"], "no such file"),
        (["--run", "nothing"], "no run called"),
    ],
)
def test_what_is_misused_is_one_error(words: list[str], complaint: str, home: Path, capsys: Capture) -> None:
    assert main(["rank", "new", *words]) in (1, 2)
    assert complaint in capsys.readouterr().err
