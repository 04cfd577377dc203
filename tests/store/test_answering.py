"""A process that answers, and one that is no longer waited for."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from workbench.data.cleaning import asking
from workbench.errors import WorkbenchError
from workbench.recipe.cleaning import load_cleaning
from workbench.store import answering
from workbench.store.answering import answer_of
from workbench.store.cleaning_launch import ask


def test_both_outputs_and_the_code() -> None:
    program = "import sys; print(sys.stdin.read()[::-1]); print('why', file=sys.stderr); sys.exit(3)"
    assert answer_of([sys.executable, "-c", program], asked=b"abc") == (3, b"cba\n", b"why\n")


def test_one_that_is_no_longer_waited_for_is_ended() -> None:
    begun = time.monotonic()
    code, _, _ = answer_of(
        [sys.executable, "-c", "import time; time.sleep(600)"], stopped=lambda: time.monotonic() > begun + 1
    )
    assert code < 0 and time.monotonic() - begun < 300


def test_one_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "PATIENCE", 0.05)
    monkeypatch.setattr(answering, "GRACE", 0.1)
    deaf = tmp_path / "deaf"
    program = f"trap '' TERM; touch {deaf}; while :; do sleep 0.02; done"
    assert answer_of(["sh", "-c", program], stopped=deaf.exists)[0] == -signal.SIGKILL


def test_a_second_signal_does_not_cut_the_tidying_short() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, asking._leave)
        with pytest.raises(SystemExit, match="143"):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_trial_that_is_given_up_leaves_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads a pipe to which nobody writes, so that it would not end by itself."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    os.mkfifo(tmp_path / "endless.txt")
    recipe = load_cleaning("text", [f"data.sources={json.dumps([str(tmp_path / 'endless.txt')])}"])
    there = tmp_path / "temporary"
    with pytest.raises(WorkbenchError, match="143"):
        ask(recipe, "dry_run", count=3, stopped=lambda: bool(list(there.iterdir())))
    assert not list(there.iterdir()) and tempfile.gettempdir() != str(there)
    mine = psutil.Process().children(recursive=True)
    assert not any("cleaning.asking" in " ".join(child.cmdline()) for child in mine)
