"""`events.jsonl`: written whole, read as it grows, each event once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.store.events import NOTE, EventTail, EventWriter, RunEvent, line_of, read_events
from workbench.store.metrics import MetricsWriter, read_metrics


def test_what_is_written_is_read_and_what_is_repeated_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events(path) == []
    spike = RunEvent(
        12,
        "loss_spike",
        action="rolled_back",
        happened="It rose.",
        why="Rows.",
        numbers={"loss": 5.0, "steps": [{"step": 11, "loss": float("nan")}]},
        rows={"first": 40, "end": 48, "rows": []},
        to_step=8,
        num_tokens=100,
        time=2.0,
    )
    note = RunEvent(12, "loss_scale", severity=NOTE, rollbacks=1)
    writer, tail = EventWriter(path), EventTail(path)
    assert not path.exists() and tail.poll() == []
    writer.write(spike)
    [read] = tail.poll()
    assert (read.step, read.rows, read.texts) == (12, spike.rows, [("what", "It rose."), ("why", "Rows.")])
    writer.write(note)
    # As by a run that was killed, and goes over the same steps.
    writer.write(RunEvent(12, "loss_spike", action="rolled_back", happened="It rose.", to_step=8, time=9.0))
    with path.open("ab") as file:
        file.write(b'{"step": 3}\n[1]\nnonsense\n{"step": 1e999, "kind": "x"}\n{"step": 5, "kind": "ne')
    assert [event.kind for event in tail.poll()] == ["loss_scale"]
    assert tail.poll() == [] and [event.time for event in tail.events] == [9.0, 0.0]
    writer.close()
    # A new writer drops the line that was torn, and readers follow a file that was replaced.
    again = EventWriter(path)
    again.write(RunEvent(20, "of the future", numbers={"x": 1}))
    again.close()
    [later] = tail.poll()
    assert later.title == "of the future" and later.is_alarm
    path.unlink()
    assert tail.poll() == [] and tail.events == []
    assert line_of(spike) == "step 12: loss spike, rolled back to step 8. It rose."
    assert line_of(note) == "step 12: loss scale"
    # No calendar has a date for it.
    damaged = RunEvent.from_dict({"step": 1, "kind": "x", "time": 1e30})
    assert damaged is not None and damaged.time == 0.0


def test_steps_that_were_rolled_back_are_kept_and_no_longer_in_force(tmp_path: Path) -> None:
    from workbench.cli.series import records

    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics:
        for step in range(1, 7):
            metrics.write({"step": step, "time": 0.0, "loss": float(step)})
        metrics.roll_back(3)
        for step in (4, 5):
            metrics.write({"step": step, "time": 0.0, "loss": 10.0 + step})
    tail = read_metrics(path)
    steps, losses = tail.series("loss")
    assert steps.tolist() == [1, 2, 3, 4, 5] and losses.tolist() == [1, 2, 3, 14, 15]
    assert [record["step"] for record in records(path)] == [1, 2, 3, 4, 5]
    everything = records(path, overtaken=True)
    assert [(one["step"], one["overtaken"]) for one in everything] == [
        *((step, int(step > 3)) for step in range(1, 7)),
        (4, 0),
        (5, 0),
    ]
    assert json.loads(path.read_bytes().splitlines()[6])["event"] == "rollback"
    assert tail.first_time == pytest.approx(0.0)
