"""`workbench ask`: pipes, prompts, streaming, techniques, tools, the terminal, being interrupted."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
from scripted_server import Refused, ScriptedServer, last_message

from workbench.cli import main, models_of
from workbench.errors import ModelError, ServerError, UsageError

Serve = Callable[..., ScriptedServer]
NASTY = "plain \x1b[31mred\x1b[0m [bold]x[/bold]\nsecond"


@pytest.fixture(autouse=True)
def no_input(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Nothing on standard input, or what a test puts there."""

    def put(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))

    put("")
    return put


def asked(server: ScriptedServer, number: int = -1) -> list[dict[str, Any]]:
    return [dict(message) for message in server.bodies[number]["messages"]]


def test_a_plain_answer(serve: Serve, where: str, capsys: Any) -> None:
    server = serve(NASTY)
    assert main(["ask", "--model", where, "What", "is", "up?", "--temperature", "0.5", "--stop", "X"]) == 0
    out, err = capsys.readouterr()
    assert out == NASTY + "\n" and err == ""  # a pipe gets the text as it is
    assert asked(server) == [{"role": "user", "content": "What is up?"}]
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["stop"]) == ("scripted", 0.5, ["X"])
    assert "max_tokens" not in body and "seed" not in body


def test_a_pipe_goes_behind_the_arguments(
    serve: Serve, where: str, no_input: Callable[[str], None], capsys: Any
) -> None:
    server = serve("ok")
    no_input("piped {{ not a template }}\n")
    assert main(["ask", "Explain this:", "-m", where, "--system", "You are {{ terse }}."]) == 0
    assert asked(server) == [
        {"role": "system", "content": "You are {{ terse }}."},
        {"role": "user", "content": "Explain this:\n\npiped {{ not a template }}"},
    ]
    no_input("only piped")
    assert main(["ask", "-m", where]) == 0
    assert asked(server)[-1]["content"] == "only piped"
    assert main(["ask", "-m", where]) == 2  # the pipe is empty by now
    assert "nothing to ask" in capsys.readouterr().err


def test_a_prompt_takes_variables_and_its_input_as_text(
    serve: Serve, where: str, tmp_path: Path, capsys: Any
) -> None:
    server = serve("Guten Morgen")
    (tmp_path / "text.txt").write_text("Good morning")
    command = ["ask", "-m", where, "--prompt", "translate", "--var", "language=German"]
    assert main([*command, "Good morning"]) == 0
    first = asked(server)
    assert "Good morning" in first[-1]["content"] and "German" in json.dumps(first)
    assert main([*command, "--var", f"text=@{tmp_path / 'text.txt'}"]) == 0
    assert asked(server) == first
    options = 'options:=["x", "y"]'
    assert main(["ask", "-m", where, "-p", "multiple-choice", "--var", options, "Q?", "-t", "zero_shot"]) == 0
    assert "(A) x" in asked(server)[-1]["content"]
    capsys.readouterr()
    assert main([*command, "--var", "text=a", "b"]) == 2
    assert "given twice" in capsys.readouterr().err
    assert main(["ask", "-m", where, "--prompt", "translate", "--var", "text=a", "--var", "language"]) == 2
    assert main(["ask", "-m", where, "--prompt", "tranlsate", "a"]) == 2
    assert "did you mean translate?" in capsys.readouterr().err


def test_json_has_everything(serve: Serve, where: str, capsys: Any) -> None:
    serve(lambda body, index: f"thus the answer is {index + 3}.")
    assert main(["ask", "-m", where, "2 + 1?", "-n", "2", "--json", "--answer-kind", "number"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == ""
    assert (told["model"], told["technique"], told["answer"]) == ("scripted", "zero_shot", "3")
    assert [one["answer"] for one in told["outcomes"]] == ["3", "4"]
    assert told["usage"] == {"prompt_tokens": 3, "completion_tokens": 10, "cached_tokens": 1}
    assert told["timings"]["seconds"] >= told["timings"]["requests"][0]["first_token_seconds"] > 0
    assert [step["kind"] for step in told["trace"]] == ["request", "extraction", "extraction"]
    assert told["outcomes"][0]["messages"][-1]["content"] == told["text"]


def test_several_answers_are_numbered_and_answers_can_stand_alone(
    serve: Serve, where: str, capsys: Any
) -> None:
    serve(lambda body, index: f"It is {index}.")
    assert main(["ask", "-m", where, "q", "-n", "2"]) == 0
    assert capsys.readouterr().out == "[1] It is 0.\n[2] It is 1.\n"
    assert main(["ask", "-m", where, "q", "--answer-only", "--answer-kind", "number"]) == 0
    assert capsys.readouterr().out == "0\n"
    assert main(["ask", "-m", where, "q", "--answer-only", "--answer-kind", "yes_no"]) == 1
    assert "no answer was found" in capsys.readouterr().err


def test_a_vote_is_told_with_its_trace(serve: Serve, where: str, capsys: Any) -> None:
    serve(lambda body, index: "The answer is 4." if index % 4 else "The answer is \x1b[2J5.")
    spec = "{self_consistency: {samples: 8, early_stop: false}}"
    assert main(["ask", "-m", where, "2+2", "-t", spec, "--answer-kind", "number", "--trace"]) == 0
    out, err = capsys.readouterr()
    assert out == "The answer is 4.\n"
    assert "answer: 4 (75% of 8 chains)" in err
    assert "vote: 4 wins with 6 of 8 chains" in err and "███████████████·····   6  4" in err
    assert "→ The answer is \\x1b[2J5." in err and "\x1b" not in err


def test_an_answer_that_does_not_fit_its_schema_ends_with_1(
    serve: Serve, where: str, tmp_path: Path, capsys: Any
) -> None:
    said = ['{"name": "a"}', '{"nam']
    remaining = iter(said)
    server = serve(lambda body, index: next(remaining))
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    path = tmp_path / "person.json"
    path.write_text(json.dumps(schema))
    assert main(["ask", "-m", where, "who?", "--schema", str(path)]) == 0
    assert server.bodies[0]["response_format"]["json_schema"]["schema"] == schema
    assert main(["ask", "-m", where, "who?", "--schema", str(path)]) == 1
    assert "does not fit its schema: it is not JSON" in capsys.readouterr().err
    path.write_text("{")
    assert main(["ask", "-m", where, "who?", "--schema", str(path)]) == 2
    assert "the schema is not JSON" in capsys.readouterr().err


def test_errors_of_the_server_are_one_clear_text(serve: Serve, where: str, capsys: Any) -> None:
    def refuse(body: dict[str, Any], index: int) -> str:
        raise Refused("no \x1b[31mroom", 503)

    serve(refuse)
    assert main(["ask", "-m", where, "q"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "Server: no \\x1b[31mroom" in err and where in err
    assert main(["ask", "-m", where, "q", "--temperature", "-1"]) == 2
    assert main(["ask", "-m", where, "q", "-t", "cott"]) == 2
    assert "did you mean cot?" in capsys.readouterr().err


def test_tools_need_a_yes(serve: Serve, where: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.cli import approval

    server = serve("7006652")
    monkeypatch.setattr(approval, "TERMINAL", "/nowhere/tty")
    assert main(["ask", "-m", where, "q", "--tools", "calculator"]) == 2
    assert "no terminal to ask you on" in capsys.readouterr().err
    assert server.bodies == []
    assert main(["ask", "-m", where, "q", "--tools", "calculator,python", "--yes"]) == 0
    assert [tool["function"]["name"] for tool in server.bodies[0]["tools"]] == ["calculator", "python"]
    assert main(["ask", "-m", where, "q", "--tools", "calculater", "--yes"]) == 2


CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "1234 * 5678"}}</tool_call>'


def spawn(*arguments: str) -> pexpect.spawn:
    return pexpect.spawn(
        sys.executable,
        ["-m", "workbench", *arguments],
        dimensions=(30, 100),
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        encoding="utf-8",
        timeout=60,
    )


def test_on_a_terminal_text_is_literal(serve: Serve, where: str) -> None:
    serve(NASTY, seconds=0.01)
    child = spawn("ask", "-m", where, "hello")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert child.before is not None
    assert child.before == "plain \\x1b[31mred\\x1b[0m [bold]x[/bold]\r\nsecond\r\n"


@pytest.mark.parametrize(("answer", "result"), [("y", "7006652"), ("n", "did not allow")])
def test_a_person_allows_or_refuses_a_call(serve: Serve, where: str, answer: str, result: str) -> None:
    def script(body: dict[str, Any], index: int) -> str:
        last = last_message(body)
        return f"I read: {last}" if last.startswith("<tool_response>") else CALL

    serve(script)
    child = spawn("ask", "-m", where, "q", "-t", "{tools: {tools: [calculator], protocol: text}}")
    child.expect(r"call calculator .*1234 \* 5678")
    child.expect(r"\[a\]ll: ")
    child.sendline(answer)
    child.expect(f"I read: .*{result}")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_an_interrupt_ends_the_question_too(serve: Serve, where: str) -> None:
    serve(CALL)
    child = spawn("ask", "-m", where, "q", "-t", "{tools: {tools: [calculator], protocol: text}}")
    child.expect(r"\[a\]ll: ")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130 and "Traceback" not in str(child.before)


def test_an_interrupt_ends_the_answer_at_the_server(serve: Serve, where: str) -> None:
    server = serve("word " * 2_000, seconds=0.02)
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", "ask", "-m", where, "go on"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.read(4) == b"word"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stderr.read() == b""
    process.stdout.close(), process.stderr.close()
    deadline = time.monotonic() + 10
    while server.running and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (server.running, server.cut_off) == (0, 1)


def test_a_reader_that_leaves_early_is_no_error(serve: Serve, where: str) -> None:
    server = serve("word " * 2_000, seconds=0.002)
    command = (
        f"{sys.executable} -m workbench ask -m {where} q < /dev/null | head -c 4; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("word") and done.stdout.endswith("141\n") and done.stderr == ""
    deadline = time.monotonic() + 10
    while server.running and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.cut_off == 1


def configure(home: Path, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "servers.yaml").write_text(text)


def test_words_for_models_are_tried_in_order(home: Path, tmp_path: Path, where: str, serve: Serve) -> None:
    from workbench.store.engines import EngineState
    from workbench.store.process import ProcessIdentity

    serve("ok", models=("a/b", "c"))
    configure(home, f"servers: [{{name: box, socket: {where}}}, {{name: far, url: http://far:1/v1, key: k}}]")
    assert models_of.find("box").identity() == {"place": "box"}
    assert models_of.find("box/a/b").identity() == {"name": "a/b", "place": "box"}
    far = models_of.find("far/x")
    assert far.server is not None and far.server.key == "k"
    engine = EngineState("tiny-1", "/models/tiny", ["--dtype", "float32"], "ready", socket="/s")
    engine.process = ProcessIdentity.current()
    engine.write()
    for word in ("tiny-1", "/models/tiny"):
        found = models_of.find(word)
        assert (found.name, found.server, found.options) == ("/models/tiny", None, ("--dtype", "float32"))
    assert models_of.find(None).name == "/models/tiny"
    url = models_of.find("https://host/v1/#some/model")
    assert url.server is not None and (url.name, url.server.url) == ("some/model", "https://host/v1")
    assert models_of.find(where).place == where
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    local = models_of.find(str(folder), engine="--threads 2")
    assert (local.name, local.place, local.options) == (str(folder), "this machine", ("--threads", "2"))
    before = local.identity()
    (folder / "config.json").write_text("{ }")
    assert models_of.find(str(folder), engine="--threads 2").identity() != before
    assert models_of.find("org/model").name == "org/model"
    with pytest.raises(ModelError, match="no model called “nothing”"):
        models_of.find("nothing")
    with pytest.raises(ModelError) as unknown:
        models_of.find("smollm2-135m-instruct")
    assert unknown.value.hint == "fetch it: workbench pull smollm2-135m-instruct"
    with pytest.raises(ServerError, match="no such model"):
        models_of.find("./nothing")
    with pytest.raises(UsageError, match="NO_SUCH_KEY is not set"):
        models_of.find("http://x/v1", "NO_SUCH_KEY")
    with pytest.raises(UsageError, match="unknown option “--dtyp”"):
        models_of.find("org/model", engine="--dtyp float32")


def test_without_a_model_the_only_one_is_asked(home: Path, where: str, serve: Serve, capsys: Any) -> None:
    assert main(["ask", "q"]) == 2
    assert "no running engine" in capsys.readouterr().err
    serve("ok", models=("a", "b"))
    configure(home, f"servers: [{{name: box, socket: {where}}}]")
    assert main(["ask", "q"]) == 1
    assert "the server has 2 models" in capsys.readouterr().err
    assert main(["ask", "-m", "box/b", "q"]) == 0
    configure(home, f"servers: [{{name: box, socket: {where}}}, {{name: other, url: http://x/v1}}]")
    assert main(["ask", "q"]) == 2
    assert "--model with one of: box, other" in capsys.readouterr().err


def test_models_are_those_of_all_servers(home: Path, where: str, serve: Serve, capsys: Any) -> None:
    assert main(["models"]) == 0
    assert "no server is configured" in capsys.readouterr().err
    serve("ok", models=("a\x1b[2J", "b"))
    configure(
        home,
        f"servers: [{{name: box, socket: {where}}}, {{name: gone, url: 'http://127.0.0.1:9/v1'}}]",
    )
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("a\\x1b[2J") and lines[2].startswith("b")
    assert lines[3].startswith("–") and "gone" in lines[3] and "cannot be reached" in lines[3]
    assert main(["models", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [line["model"] for line in told] == ["a\x1b[2J", "b", None]
    assert [line["state"] for line in told] == ["ready", "ready", "unreachable"]
