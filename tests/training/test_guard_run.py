"""Whole runs that go wrong: bad rows, numbers that are none, rollback, kills on the way, and an end."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from tiny_run import MakeRun, curve, text_of

from workbench.objectives.base import Batch, LossOutput
from workbench.objectives.clm import CausalLanguageModeling, CausalRows
from workbench.store import launch
from workbench.store.events import RunEvent, read_events
from workbench.store.runs import Run
from workbench.training import reporter
from workbench.training.loop import Trainer

Work = Callable[[Run], int]
DOCUMENTS = 200
BAD = range(56, 64)
STEPS = 60


def write(path: Path, bad: range) -> Path:
    """Documents of a few words over and over; those in `bad` are consonants at random."""
    dice = random.Random(0)
    lines = []
    for number in range(DOCUMENTS):
        text = text_of(number, 60)
        if number in bad:
            words = ("".join(dice.choice("bcdfgjkmpqvwxz") for _ in range(5)) for _ in range(12))
            text = " ".join(words)
        lines.append(orjson.dumps({"text": text}) + b"\n")
    path.write_bytes(b"".join(lines))
    return path


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No heartbeat: of a worker that dies in this process the thread lives on."""
    monkeypatch.setattr(reporter, "HEARTBEAT_SECONDS", 1e6)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Text whose rows of about steps 47 to 52 are broken, in the order of the file."""
    return write(tmp_path / "corpus.jsonl", BAD)


@pytest.fixture
def make(corpus: Path, make_run: MakeRun) -> MakeRun:
    common = {
        "data__shuffle": False,
        "training__max_steps": STEPS,
        "training__save_steps": 20,
        "training__save_total_limit": 2,
        "training__eval_steps": 30,
        "training__sample_prompts": [],
        "training__learning_rate": 3e-3,
    }
    return lambda **changes: make_run(**common | changes)


def alarms(run: Run) -> list[RunEvent]:
    return [event for event in read_events(run.events_path) if event.is_alarm]


class Killed(BaseException):
    """As sudden as SIGKILL: nothing in the worker catches it."""


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch, *, after_rollback: bool) -> None:
    """Have the next worker die before it makes a step, the first time or the first time after a rollback."""
    whole = Trainer.train_step

    def train_step(self: Trainer) -> bool:
        if self.state.step == step and bool(self.guard.ledger.rollbacks) == after_rollback:
            monkeypatch.setattr(Trainer, "train_step", whole)
            raise Killed
        return whole(self)

    monkeypatch.setattr(Trainer, "train_step", train_step)


def test_bad_rows_are_left_out_and_a_killed_run_goes_on_the_same_way(
    make: MakeRun, work: Work, monkeypatch: pytest.MonkeyPatch, corpus: Path
) -> None:
    run = make()
    assert work(run) == 0, run.log_path
    [event] = alarms(run)
    assert event.kind == "loss_spike" and event.action == "rolled_back" and event.to_step == 40
    assert event.rows is not None
    onset, steps = event.numbers["onset"], curve(run, "loss")["loss"]
    # Seen at the fifth high loss, so early; the rows of the step before the first are suspected too.
    assert event.step == onset + 4 and 44 <= onset <= 53
    assert (event.rows["first"], event.rows["end"]) == ((onset - 2) * 4, event.step * 4)
    told = event.rows["rows"]
    assert [row["row"] for row in told] == list(range(event.rows["first"], event.rows["end"]))
    assert {source for row in told for source in row["sources"]} == {str(corpus)}
    assert any("q" in row["begins"] for row in told) and any(row["documents"] for row in told)
    for _, text in event.texts:
        assert text.endswith(".")
    # The curve that readers see has each step once; the file keeps what was overtaken.
    assert [step for step, _ in steps] == list(range(1, STEPS + 1))
    lines = [orjson.loads(line) for line in run.metrics_path.read_bytes().splitlines()]
    assert sum(line.get("step") == event.step - 1 for line in lines) == 2
    assert [line["step"] for line in lines if "event" in line] == [40]
    losses = dict(steps)
    assert max(losses[step] for step in range(54, STEPS + 1)) < losses[40] + 0.3
    ratios = curve(run, "update_ratio/early", "grad_norm/embedding", "logits/logsumexp")
    assert all(len(series) == STEPS for series in ratios.values())

    final = (run.final_path / "model.safetensors").read_bytes()
    for step, after_rollback in ((47, False), (42, True), (58, True)):
        other = make()
        kill_at(step, monkeypatch, after_rollback=after_rollback)
        with pytest.raises(Killed):
            work(other)
        assert work(other) == 0
        assert curve(other) == curve(run)
        assert (other.final_path / "model.safetensors").read_bytes() == final
        assert [event.rows for event in alarms(other)] == [event.rows]


def no_number(is_broken: Callable[[Any, Batch], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loss NaN of every batch that is broken; `extra` says where one begins."""
    whole, loss_of = CausalRows.batch, CausalLanguageModeling.loss

    def batch(self: CausalRows, start: int, count: int) -> Batch:
        made = whole(self, start, count)
        made.extra["start"] = start
        return made

    def loss(self: Any, model: Any, tensors: Any, batch: Batch) -> LossOutput:
        found = loss_of(self, model, tensors, batch)
        if torch.is_grad_enabled() and is_broken(self, batch):
            found.sums = found.sums * torch.nan
        return found

    monkeypatch.setattr(CausalRows, "batch", batch)
    monkeypatch.setattr(CausalLanguageModeling, "loss", loss)


def test_a_loss_that_is_no_number_is_undone_without_any_checkpoint(
    make: MakeRun, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"training__max_steps": 12, "training__save_steps": 50}
    clean = make(**short)
    assert work(clean) == 0
    no_number(lambda _, batch: batch.extra["start"] in range(24, 28), monkeypatch)
    run = make(**short)
    assert work(run) == 0
    [event] = alarms(run)
    assert (event.kind, event.step, event.to_step) == ("loss_not_finite", 7, 0)
    assert event.rows is not None and (event.rows["first"], event.rows["end"]) == (24, 28)
    # From the very same weights over the very same rows, up to those that are left out.
    ours, theirs = (curve(one, "loss")["loss"] for one in (run, clean))
    assert ours[:6] == theirs[:6] and len(ours) == 12 and ours[6] != theirs[6]


def test_what_went_wrong_is_not_met_again_in_later_epochs(
    make: MakeRun, work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    met: list[int] = []

    def is_broken(objective: Any, batch: Batch) -> bool:
        # Only the broken document has a q.
        broken = "q" in objective.tokenizer.decode(batch.arrays["input_ids"].reshape(-1))
        met.extend([batch.extra["start"]] * broken)
        return broken

    no_number(is_broken, monkeypatch)
    lines = write(tmp_path / "one.jsonl", range(9, 10)).read_bytes().splitlines(keepends=True)
    (tmp_path / "one.jsonl").write_bytes(b"".join(lines[:40]))
    few = {"data__sources": [str(tmp_path / "one.jsonl")], "data__shuffle": True}
    run = make(**few, training__max_steps=None, training__num_train_epochs=3)
    kill_at(70, monkeypatch, after_rollback=True)
    with pytest.raises(Killed):
        work(run)
    assert work(run) == 0
    found = alarms(run)
    assert met and {event.kind for event in found} == {"loss_not_finite"} and len(found) == len(met)
    # In the first epoch each of its rows; never in a later one, before the kill or after.
    assert {event.rows["rows"][0]["epoch"] for event in found if event.rows} == {0}
    assert curve(run, "epoch")["epoch"][-1][1] > 2.9


def test_trouble_that_stays_ends_the_run_after_so_many_rollbacks(
    make: MakeRun, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_number(lambda _, batch: batch.extra["start"] >= 36, monkeypatch)
    run = make(training__max_steps=30, training__save_steps=4, stability__max_rollbacks=3)
    assert work(run) == 1
    error = run.status().error
    assert error is not None and "rolled back 3 times (stability.max_rollbacks)" in error["message"]
    assert "The loss became nan at step" in error["message"] and "checkpoint-" in error["hint"]
    events = alarms(run)
    assert [event.action for event in events] == ["rolled_back"] * 3 + ["stopped"]
    # The same trouble again: an older checkpoint each time there is one, more rows, a lower learning rate.
    assert [event.to_step for event in events[:2]] == [8, 4]
    assert "0.25 of the recipe's" in events[2].done
    widths = [event.rows["end"] - event.rows["first"] for event in events[:3] if event.rows]
    assert widths == [4, 8, 16]


def test_what_was_saved_while_something_was_wrong_is_not_gone_back_to(make: MakeRun, work: Work) -> None:
    # One checkpoint is kept, and one is written at every other step: also while the loss is high already.
    run = make(training__save_steps=2, training__save_total_limit=1, training__load_best_model_at_end=False)
    assert work(run) == 0
    [event] = alarms(run)
    assert (
        event.to_step is not None
        and event.numbers["onset"] - 28 <= event.to_step <= event.numbers["onset"] - 2
    )
    assert {path.name for path in run.checkpoints()} <= {
        f"checkpoint-{step}" for step in range(STEPS - 28, 61)
    }
    losses = dict(curve(run, "loss")["loss"])
    assert max(losses[step] for step in range(54, STEPS + 1)) < losses[40] + 0.3


@pytest.mark.parametrize("mode", ["rollback", "warn"])
def test_a_run_that_ends_while_its_loss_is_high_says_so(mode: str, make: MakeRun, work: Work) -> None:
    run = make(stability__guard=mode, training__max_steps=50, training__load_best_model_at_end=False)
    assert work(run) == 0 and not alarms(run)
    [note] = [event for event in read_events(run.events_path) if event.kind == "ended_high"]
    assert note.step == 50
    source = run.path / ("checkpoint-40" if mode == "rollback" else "checkpoint-50")
    final = (run.final_path / "model.safetensors").read_bytes()
    assert final == (source / "model.safetensors").read_bytes()
    assert ("checkpoint-40" in note.done) == (mode == "rollback")


@pytest.mark.parametrize("mode", ["stop", "warn", "off"])
def test_what_the_other_modes_do(mode: str, make: MakeRun, work: Work) -> None:
    run = make(stability__guard=mode, training__max_steps=56, stability__layer_metrics=False)
    assert work(run) == (1 if mode == "stop" else 0)
    found = alarms(run)
    if mode == "off":
        assert not run.events_path.exists() and len(curve(run, "loss")["loss"]) == 56
        return
    assert [event.action for event in found] == ["stopped" if mode == "stop" else "warned"]
    if mode == "stop":
        error = run.status().error
        assert error is not None and "checkpoint-40" in error["hint"]
        assert "stability.guard is stop" in error["message"]


def test_in_fp16_the_loss_is_scaled_and_what_overflows_is_left_out(
    make: MakeRun, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From so high that the first gradients overflow.
    scaler = functools.partial(torch.amp.GradScaler, init_scale=2.0**32, growth_interval=12)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    short = {"training__max_steps": 40, "training__save_steps": 10, "data__shuffle": True}
    run, exact = make(**short, training__fp16=True), make(**short | {"training__max_steps": 2})
    kill_at(33, monkeypatch, after_rollback=False)
    with pytest.raises(Killed):
        work(run)
    assert work(run) == 0 and work(exact) == 0
    scales, skipped = (curve(run, name)[name] for name in ("loss_scale", "skipped_updates"))
    notes = [event for event in read_events(run.events_path) if event.kind == "loss_scale"]
    assert not alarms(run) and skipped[-1][1] >= 4
    before = {step: value for step, value in scales}
    assert all(before[event.step] == event.numbers["now"] for event in notes)
    assert any(event.numbers["now"] > event.numbers["before"] for event in notes)
    assert len(notes) == min(20, 1 + sum(a != b for (_, a), (_, b) in pairwise(scales)))
    whole = make(**short, training__fp16=True)
    assert work(whole) == 0
    assert curve(whole, "loss", "loss_scale", "skipped_updates") == curve(
        run, "loss", "loss_scale", "skipped_updates"
    )
    # fp16 has eleven bits of a number.
    ours, theirs = (curve(one, "loss")["loss"] for one in (run, exact))
    assert ours[0][1] == pytest.approx(theirs[0][1], rel=2**-10)
    assert ours[-1][1] < ours[0][1] - 0.5


@pytest.mark.slow
def test_two_processes_roll_back_as_one_does(make: MakeRun) -> None:
    one = make(training__logging_steps=1)
    two = make(training__per_device_train_batch_size=2, launch__num_processes=2)
    for run in (one, two):
        launch.start(run)
        assert launch.wait(run, 240.0) == "finished", run.log_path.read_text()
    ours, theirs = alarms(two), alarms(one)
    assert [(e.kind, e.step, e.to_step, e.action) for e in ours] == [
        (e.kind, e.step, e.to_step, e.action) for e in theirs
    ]
    assert ours[0].rows == theirs[0].rows
    for name in ("loss", "update_ratio/early", "grad_norm/embedding"):
        mine, other = curve(two, name)[name], curve(one, name)[name]
        assert [v for _, v in mine] == pytest.approx([v for _, v in other], rel=2e-3)
