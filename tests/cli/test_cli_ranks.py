"""`workbench runs ranks`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_ranks import write_ranks

from workbench.cli import main
from workbench.recipe import load
from workbench.scaling.layouts.layout import Layout
from workbench.store.process import ProcessIdentity
from workbench.store.runs import create_run


def test_ranks_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    run = create_run(load("nano", ["run.name=wide"]))
    assert main(["runs", "ranks", "wide"]) == 1
    assert "has not begun" in capsys.readouterr().err
    write_ranks(run.path, Layout(pp=2, dp_shard=4), slow={6: 1.4})
    assert main(["runs", "ranks", "wide"]) == 0
    said = capsys.readouterr().out
    assert "pp 1 dp_shard 2" in said and "rank 6 on gpu-000 holds the others up" in said
    assert main(["runs", "ranks", "wide", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert len(value["ranks"]) == 8 and value["stragglers"][0]["rank"] == 6
    assert value["stuck"] is None
    assert value["ranks"][6]["own_seconds"] > value["ranks"][5]["own_seconds"]


def test_ranks_that_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    run = create_run(load("nano", ["run.name=wide"]))
    status = run.status()
    status.state, status.process = "running", ProcessIdentity.current()
    status.write(run.status_path)
    write_ranks(run.path, Layout(dp_shard=4), stuck=400.0, passes={3: 1})
    assert main(["runs", "ranks", "wide"]) == 0
    said = capsys.readouterr().out
    assert "no rank has got on with its step for 6m 40s; the others wait for rank 3" in said
    assert main(["runs", "ranks", "wide", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stuck"]["behind"] == [3]
