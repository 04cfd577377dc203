"""The edge of the program: exit codes, streams, suggestions, errors shown once."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.cli import interface, main, runs_list
from workbench.cli.parser import Parser, build

HEAVY = ("torch", "transformers", "accelerate", "peft", "datasets", "numpy", "pydantic", "textual", "yaml")


def _leaves(parser: Parser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Parser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from _leaves(child, (*words, name))
            return
    yield words, parser


LEAVES = [words for words, _ in _leaves(build())]


@pytest.mark.parametrize("words", [(), ("runs",), ("recipe",), *LEAVES], ids=" ".join)
def test_every_command_has_help_with_an_example(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    examples = out[out.index("\nexample") + 1 :].splitlines()[1:]
    assert examples and all(line.startswith("  workbench") for line in examples)
    if words:
        assert f"workbench {' '.join(words)}" in out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["trian", "nano"], "there is no command “trian”", "did you mean train?"),
        (["runs", "lst"], "there is no command “lst”", "did you mean list?"),
        (["xyzzy"], "there is no command “xyzzy”", "one of: quickstart, train"),
        (["runs"], "a command is missing", "one of: list, show"),
        (["train", "nano", "--detatch"], "unknown option “--detatch”", "did you mean --detach?"),
        (["train"], "RECIPE", "workbench train --help"),
        (["runs", "list", "extra"], "unknown argument “extra”", "workbench runs list --help"),
        (["runs", "list", "--state", "runing"], "invalid choice: 'runing'", "--help"),
        (["runs", "stop", "a", "--wait", "soon"], "invalid seconds value: 'soon'", "--help"),
        (["--symbols", "emoji"], "invalid choice: 'emoji'", "--help"),
    ],
)
def test_misuse_is_exit_code_2_with_a_hint(
    arguments: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err and hint in err and "Traceback" not in err


def test_the_interface_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    err = capsys.readouterr().err
    assert "needs a terminal" in err and "workbench train" in err


def test_a_dumb_terminal_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert main([]) == 1
    assert "TERM=dumb" in capsys.readouterr().err


def test_the_interface_is_told_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.tui import app

    seen: dict[str, object] = {}

    def run_app(**options: object) -> int:
        seen.update(options)
        return 0

    monkeypatch.setattr(interface, "check_terminal", lambda: None)
    monkeypatch.setattr(app, "run_app", run_app)
    assert main(["--no-mouse", "--symbols", "ascii"]) == 0
    assert seen == {"initial_run": None, "mouse": False, "symbols": "ascii"}


@pytest.mark.parametrize("before", [True, False])
def test_home_is_taken_before_and_behind_a_command(
    before: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    option = ["--home", str(other)]
    command = ["train", "nano", "training.max_step=3"]
    assert main([*option, *command] if before else [*command, *option]) == 2
    assert os.environ["WORKBENCH_HOME"] == str(other)
    assert "did you mean training.max_steps?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["recipe", "show", "nano"], ["--debug", "runs", "list"]])
def test_our_own_mistakes_are_one_line_and_a_saved_traceback(
    arguments: list[str], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from workbench import recipe
    from workbench.store import runs

    def broken(*_: object) -> None:
        raise KeyError("lost \x1b[2J key")

    monkeypatch.setattr(recipe, "load", broken)
    monkeypatch.setattr(runs, "list_runs", broken)
    assert main(arguments) == 1
    err = capsys.readouterr().err
    if "--debug" in arguments:
        assert err.startswith("Traceback")
        return
    assert "this is a bug in the workbench: KeyError" in err and "\x1b" not in err
    (saved,) = (home / "cache" / "crashes").iterdir()
    assert str(saved) in err and "Traceback" in saved.read_text()


def test_an_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from workbench.store import runs

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "list_runs", interrupted)
    assert main(["runs", "list"]) == 130
    assert capsys.readouterr() == ("", "")


def _program(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "workbench", *arguments],
        **{"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": 60, **options},
    )


def test_as_a_program_results_and_talk_are_apart(home: Path) -> None:
    listed = _program("runs", "list", "--json")
    assert (listed.returncode, listed.stdout, listed.stderr) == (0, "[]\n", "")
    unknown = _program("runs", "show", "nothing")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("Run: there is no run called “nothing”")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m workbench recipe schema | head -c 5; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith('{\n  "') and done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_said() -> None:
    with Path("/dev/full").open("w") as full:
        done = _program("recipe", "schema", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.startswith("Storage: the disk is full\n  where: standard output")


def test_a_terminal_without_utf8_shows_escapes_instead_of_failing() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    done = _program("runs", "show", "nothing", env=environment)
    assert done.returncode == 1
    assert r"\u201cnothing\u201d" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "list"], ["trian"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    code = (
        "import sys; from workbench.cli import main; main(sys.argv[1:]);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_the_states_offered_are_those_there_are() -> None:
    from workbench.store.status import ACTIVE_STATES, FINAL_STATES, LOST

    assert set(runs_list.STATES) == {*ACTIVE_STATES, *FINAL_STATES, LOST, "unknown"}
