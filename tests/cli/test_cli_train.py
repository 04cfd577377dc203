"""Starting, following, stopping and resuming runs, with a stand-in for the worker."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.cli import interface, main
from workbench.store import launch
from workbench.store.runs import Run, find_run

Capture = pytest.CaptureFixture[str]
Choose = Callable[[str], None]
FAKE = Path(__file__).with_name("fake_worker.py")


def test_train_follows_the_run_to_its_end(fake_worker: Choose, home: Path, capsys: Capture) -> None:
    arguments = ["train", "nano", "training.max_steps=20", "--samples", "training.learning_rate=0.5"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out == f"{home}/runs/nano-1/final\n"
    lines = err.splitlines()
    assert lines[0] == f"run nano-1 in {home}/runs/nano-1"
    for line in ("step 5: eval_loss 5.0000", "step 10: eval_loss 4.5000, best so far", "saved checkpoint-20"):
        assert line in lines
    assert r"sample at step 20: def ▸f(x):\n\x1b[31m" in lines
    assert lines[-1] == f"“nano-1” is finished at step 20; the model is in {home}/runs/nano-1/final"
    assert find_run("nano-1").recipe().training.learning_rate == 0.5
    assert "\r" not in err and "\x1b" not in err


def test_train_as_json_keeps_talk_apart(fake_worker: Choose, capsys: Capture) -> None:
    assert main(["train", "nano", "--name", "123", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["state"], facts["step"]) == ("123", "finished", 20)
    assert facts["final"].endswith("/123/final")


def test_a_name_that_is_taken(fake_worker: Choose, capsys: Capture) -> None:
    assert main(["train", "nano", "--name", "one"]) == 0
    assert main(["train", "nano", "--name", "one"]) == 1
    assert "there is a run called “one” already" in capsys.readouterr().err
    assert main(["train", "nano", "--name", "../one"]) == 2


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_the_workers_error_is_shown_as_its_own(
    fake_worker: Choose, detach: list[str], capsys: Capture
) -> None:
    fake_worker("fail")
    assert main(["train", "nano", *detach]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("Data: no such file\n  where: a.txt\n  try:   check the path\n")


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_a_worker_that_dies_without_a_word(fake_worker: Choose, detach: list[str], capsys: Capture) -> None:
    fake_worker("crash")
    assert main(["train", "nano", *detach]) == 1
    err = capsys.readouterr().err
    assert "“nano-1” is lost: its process is gone" in err
    assert r"| Segmentation fault \x1b[2J in the fake" in err
    assert "workbench runs resume nano-1" in err


def test_detach_stop_resume(fake_worker: Choose, capsys: Capture) -> None:
    fake_worker("wait")
    assert main(["train", "nano", "--detach"]) == 0
    assert capsys.readouterr().out == "nano-1\n"
    run = find_run("nano-1")
    wait_for_step(run, 5)
    assert main(["runs", "stop", "nano-1", "--wait", "30"]) == 0
    assert capsys.readouterr().out == "stopped\n"
    fake_worker("finish")
    assert main(["runs", "resume", "nano-1"]) == 0
    out, err = capsys.readouterr()
    assert "“nano-1” goes on from checkpoint-5" in err
    assert "saved checkpoint-5" not in err and "saved checkpoint-10" in err
    assert out == f"{run.final_path}\n"


def test_force_kills_what_does_not_listen(fake_worker: Choose, capsys: Capture) -> None:
    fake_worker("deaf")
    assert main(["train", "nano", "--detach"]) == 0
    assert main(["runs", "stop", "nano-1"]) == 0
    assert main(["runs", "stop", "nano-1", "--wait", "0"]) == 1
    assert "has not stopped yet" in capsys.readouterr().err
    assert main(["runs", "stop", "nano-1", "--force"]) == 0
    assert capsys.readouterr().out == "lost\n"


def test_follow_says_what_was_and_what_comes(fake_worker: Choose, capsys: Capture) -> None:
    fake_worker("wait")
    main(["train", "nano", "--detach"])
    run = find_run("nano-1")
    wait_for_step(run, 5)
    capsys.readouterr()
    stopper = threading.Timer(0.5, launch.request_stop, [run])
    stopper.start()
    assert main(["runs", "follow", "nano-1"]) == 0
    stopper.join()
    out, err = capsys.readouterr()
    assert re.match(r"so far, in \ds: step 5/20  25 %  loss 4\.5000  eval 5\.0000  12\.3k tokens/s", out)
    assert "saved" not in out
    assert err == "“nano-1” was stopped at step 5; go on with: workbench runs resume nano-1\n"


def wait_for_step(run: Run, step: int) -> None:
    """Until the stand-in has got so far."""
    pause = threading.Event()
    while run.status().step < step:
        pause.wait(0.02)


QUIT_AFTER_START = """
import os, signal, sys, threading
from workbench.store import launch
fake = sys.argv.pop(1)
launch.command = lambda run, section: [sys.executable, fake, str(run.path), "wait"]
from workbench.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_ctrl_c_leaves_the_run_going(home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", QUIT_AFTER_START, str(FAKE), "train", "nano"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    seen = ""
    while "saved checkpoint-5" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    run = find_run("nano-1")
    try:
        assert process.returncode == 130
        assert out == "" and "Traceback" not in err
        assert "“nano-1” goes on; watch it with: workbench runs follow nano-1" in err
        assert "stop it with: workbench runs stop nano-1" in err
        assert run.status().is_active
        launch.request_stop(run)
        assert launch.wait(run, 30) == "stopped"
    finally:
        if run.status().is_active:
            launch.kill(run)


def test_quickstart_headless_ends_with_the_whole_story(
    fake_worker: Choose, home: Path, capsys: Capture
) -> None:
    assert main(["quickstart", "--headless", "training.max_steps=20"]) == 0
    out, err = capsys.readouterr()
    assert "loss over steps" in out and re.search("[\u2801-\u28ff]{6}", out)
    rows = dict(
        re.split(r"\s{2,}", line, maxsplit=1) for line in out.splitlines() if re.match(r"\w+\S*  ", line)
    )
    assert rows["loss"] == "4.900 at first, 3.000 at last, 3.000 at best"
    assert rows["eval_loss"] == "3.500, 3.500 at best"
    assert rows["perplexity"] == "33.12" and rows["tokens/s"] == "12.3k"
    assert rows["time"] == "0.0 minutes"
    assert "def f(x):\n  \\x1b[31m" in out
    assert f"AutoModelForCausalLM.from_pretrained('{home}/runs/quickstart-1/final')" in out
    assert "“quickstart-1” is finished" in err


def test_quickstart_as_json(fake_worker: Choose, capsys: Capture) -> None:
    assert main(["quickstart", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["first_loss"] == 4.9 and len(facts["loss_curve"]) == 20 and facts["sample"]["step"] == 20


def test_quickstart_fails_when_the_run_does(fake_worker: Choose, capsys: Capture) -> None:
    fake_worker("fail")
    assert main(["quickstart"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "Data: no such file" in err


def test_quickstart_opens_the_interface_on_a_terminal(
    fake_worker: Choose, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    fake_worker("wait")
    opened: list[str | None] = []

    def open_interface(args: object, initial_run: str | None) -> int:
        opened.append(initial_run)
        return 0

    monkeypatch.setattr(interface, "check_terminal", lambda: None)
    monkeypatch.setattr(interface, "open_interface", open_interface)
    assert main(["quickstart"]) == 0
    assert opened == ["quickstart-1"]
    assert "“quickstart-1” goes on" in capsys.readouterr().err
