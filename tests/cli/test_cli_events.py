"""`workbench runs events`, and events in what other commands say of a run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from workbench.cli import main
from workbench.cli.events import EventReader
from workbench.store.events import NOTE, EventWriter, RunEvent
from workbench.store.runs import Run

MakeRun = Callable[..., Run]
Capture = pytest.CaptureFixture[str]
BEGINS = "\x1b[31mred [bold]markup[/bold]\ttext"


def write(run: Run) -> None:
    writer = EventWriter(run.events_path)
    rows = [
        {
            "row": 40,
            "epoch": 0,
            "index": 3,
            "documents": [7, 8],
            "sources": ["a\x1b]0;x.txt"],
            "begins": BEGINS,
        },
        {"row": 41, "epoch": 0, "records": [9]},
    ]
    writer.write(
        RunEvent(
            12,
            "loss_spike",
            action="rolled_back",
            happened="The loss rose to 5.",
            why="Broken text.",
            done="Back to checkpoint-8.",
            advice="Look at the rows.",
            numbers={"loss": 5.0, "steps": [{"step": 11, "loss": 3.0, "grad_norm": None}]},
            rows={"first": 40, "end": 44, "rows": rows},
            to_step=8,
            time=1e9,
        )
    )
    writer.write(RunEvent(14, "loss_scale", severity=NOTE, happened="fp16 lowered the loss scale."))
    writer.close()


def test_events_are_told_in_words_with_rows_and_steps(make_run: MakeRun, capsys: Capture) -> None:
    run = make_run("alpha", loss=[3.0])
    assert main(["runs", "events", "alpha"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "has no event" in err
    write(run)
    assert main(["runs", "events", "alpha", "--rows", "--steps", "--alarms"]) == 0
    out = capsys.readouterr().out
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0].startswith("step 12: loss spike, back to step 8")
    assert lines[1:5] == [
        "what  The loss rose to 5.",
        "why   Broken text.",
        "done  Back to checkpoint-8.",
        "try   Look at the rows.",
    ]
    assert "11  3.000          –" in out and "row 41  epoch 0  records 9" in lines
    # What comes from data is shown as it is, and reaches no terminal.
    assert "\x1b" not in out and "\\x1b[31mred [bold]markup[/bold]\\ttext" in out
    assert "… and 2 more, up to row 43" in lines and "loss scale" not in out
    assert main(["runs", "events", "alpha", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [event["kind"] for event in found["events"]] == ["loss_spike", "loss_scale"]
    assert main(["runs", "events", "nothing"]) == 1


def test_show_and_follow_tell_of_events(make_run: MakeRun, capsys: Capture) -> None:
    run = make_run("alpha", loss=[3.0])
    reader = EventReader(run)
    write(run)
    told = list(reader.poll(run.status()))
    assert told[0] == "step 12: loss spike, rolled back to step 8. The loss rose to 5."
    assert len(told) == 2 and not list(reader.poll(run.status()))
    assert main(["runs", "show", "alpha"]) == 0
    out = capsys.readouterr().out
    assert "1 alarm, 1 note; in words: workbench runs events alpha" in out
    assert "step 12: loss spike, rolled back to step 8." in out


def test_what_was_overtaken_can_be_exported(
    make_run: MakeRun, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("alpha", loss=[3.0, 2.0])
    with run.metrics_path.open("a") as file:
        file.write('{"event":"rollback","step":1}\n{"step":2,"time":0,"loss":2.5}\n')
    for more, steps in (([], ["1", "2"]), (["--overtaken"], ["1", "2", "2"])):
        sink = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(sink, write_through=True))
        assert main(["runs", "export-metrics", "alpha", *more]) == 0
        head, *lines = sink.getvalue().decode().split()
        assert [line.split(",")[0] for line in lines] == steps
        assert ("overtaken" in head) == bool(more)
