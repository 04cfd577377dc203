"""The worker from start to final state, in this process."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from safetensors.torch import save_file
from tiny_run import MakeRun, curve

from workbench.store.files import replace_file
from workbench.store.runs import Run
from workbench.training import checkpoint, loop, worker
from workbench.training.samples import SampleWriter
from workbench.training.stop import StopRequest
from workbench.training.worker import lock_run

Work = Callable[[Run], int]


def test_a_run_ends_with_everything_in_its_folder(make_run: MakeRun, work: Work) -> None:
    run = make_run()
    assert work(run) == 0
    status = run.status()
    assert (status.state, status.step, status.max_steps, status.error) == ("finished", 12, 12, None)
    assert status.eval_loss is not None and status.num_tokens > 0 and status.num_parameters
    series = curve(run)
    assert [step for step, _ in series["loss"]] == list(range(1, 13))
    assert [step for step, _ in series["eval_loss"]] == [5, 10, 12]
    assert series["loss"][0][1] == pytest.approx(math.log(300), rel=0.03)
    samples = [orjson.loads(line) for line in run.samples_path.read_bytes().splitlines()]
    assert [sample["step"] for sample in samples] == [5, 10, 12]
    assert all(sample["prompt"] == "the " for sample in samples)
    assert len(run.checkpoints()) == 2
    assert not list(run.path.glob(f"{checkpoint.TEMPORARY}*")) and not (run.path / ".reserve").exists()


def test_final_needs_nothing_of_ours(make_run: MakeRun, work: Work) -> None:
    run = make_run()
    work(run)
    code = """
import sys, json
sys.modules["workbench"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
inputs = tokenizer("the cat sees", return_tensors="pt")
print(json.dumps(tokenizer.decode(model.generate(**inputs, do_sample=False, max_new_tokens=12)[0])))
"""
    output = subprocess.run([sys.executable, "-c", code, str(run.final_path)], capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.final_path)
    best = run.status().best_step
    model = AutoModelForCausalLM.from_pretrained(run.path / f"checkpoint-{best}").eval()
    ids = tokenizer("the cat sees", return_tensors="pt")["input_ids"]
    for _ in range(12):
        # Greedy by hand, a full forward for every token.
        with torch.no_grad():
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1:].argmax(-1)], dim=1)
        if ids[0, -1] == tokenizer.eos_token_id:
            break
    assert json.loads(output.stdout) == tokenizer.decode(ids[0])


def test_accumulation_equals_a_larger_batch(make_run: MakeRun, work: Work) -> None:
    curves = []
    for batch, accumulation in ((8, 1), (2, 4)):
        # Unpacked rows have very unequal numbers of targets: a mean of means would show.
        run = make_run(
            training__per_device_train_batch_size=batch,
            training__gradient_accumulation_steps=accumulation,
            data__packing=False,
        )
        assert work(run) == 0
        curves.append(curve(run))
    for name in ("loss", "grad_norm"):
        ours, theirs = ([value for _, value in series[name]] for series in curves)
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert curves[0]["num_tokens"] == curves[1]["num_tokens"]


def test_a_logged_window_is_the_mean_over_its_targets(make_run: MakeRun, work: Work) -> None:
    each, thirds = make_run(), make_run(training__logging_steps=3)
    work(each), work(thirds)
    losses = [value for _, value in curve(each)["loss"]]
    # Every packed row but the last of an epoch has nearly the same number of targets.
    expected = [sum(losses[i : i + 3]) / 3 for i in range(0, 12, 3)]
    assert [step for step, _ in curve(thirds)["loss"]] == [3, 6, 9, 12]
    assert [value for _, value in curve(thirds)["loss"]] == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    "changes",
    [
        {"training__gradient_checkpointing": True},
        {"training__bf16": True},
        {"data__isolate_documents": False},
        {"training__lr_scheduler_type": "wsd", "training__max_grad_norm": 0.0},
        {"training__num_train_epochs": 2.0, "training__max_steps": None},
        {"data__eval_fraction": 0.0},
        {"training__save_total_limit": None, "training__load_best_model_at_end": False},
    ],
)
def test_switches(make_run: MakeRun, work: Work, changes: dict[str, Any]) -> None:
    run = make_run(**changes)
    assert work(run) == 0, run.status().error
    losses = [value for _, value in curve(run)["loss"]]
    assert losses[-1] < losses[0]
    assert (run.final_path / "model.safetensors").exists()


def test_recomputed_activations_change_no_loss(make_run: MakeRun, work: Work) -> None:
    plain, recomputed = make_run(), make_run(training__gradient_checkpointing=True)
    work(plain), work(recomputed)
    assert [v for _, v in curve(plain)["loss"]] == pytest.approx(
        [v for _, v in curve(recomputed)["loss"]], rel=1e-6
    )


def test_metrics_reach_a_tracker(make_run: MakeRun, work: Work) -> None:
    run = make_run(run__report_to=["tensorboard"])
    assert work(run) == 0
    assert list((run.path / "trackers").rglob("events.out.tfevents*"))


def test_a_tracker_that_is_not_installed_is_named(make_run: MakeRun, work: Work) -> None:
    run = make_run(run__report_to=["trackio"])
    assert work(run) == 1
    error = run.status().error
    assert error is not None and "pip install 'llm-workbench[trackio]'" in error["hint"]


def stop_at(step: int, how: Callable[[Run], None], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do `how` in the middle of a step."""
    train_step = loop.Trainer.train_step

    def stopping(self: loop.Trainer) -> bool:
        if self.state.step == step - 1:
            how(run)
        return train_step(self)

    monkeypatch.setattr(loop.Trainer, "train_step", stopping)


STOPS: dict[str, Callable[[Run], None]] = {
    "signal": lambda run: os.kill(os.getpid(), signal.SIGTERM),
    "file": lambda run: run.stop_path.touch(),
}


@pytest.mark.parametrize("how", STOPS)
def test_a_stopped_run_goes_on_as_if_never_stopped(
    make_run: MakeRun, work: Work, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    whole = make_run(training__logging_steps=2)
    assert work(whole) == 0
    run = make_run(training__logging_steps=2)
    with monkeypatch.context() as patch:
        patch.setattr("workbench.training.stop.FILE_CHECK_SECONDS", 0.0)
        stop_at(7, STOPS[how], run, patch)
        assert work(run) == 0
    status = run.status()
    assert (status.state, status.step) == ("stopped", 6) or (status.state, run.checkpoints()[-1].name) == (
        "stopped",
        "checkpoint-7",
    )
    assert not run.stop_path.exists() and not run.final_path.exists()
    assert work(run) == 0
    assert run.status().state == "finished"
    assert curve(run) == curve(whole)
    texts = [
        [orjson.loads(line)["text"] for line in r.samples_path.read_bytes().splitlines()]
        for r in (run, whole)
    ]
    assert texts[0] == texts[1]


def test_torn_samples_are_dropped_when_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"step": 5, "text": "a"}\n\xff{"st\n{"step": 9, "text": "b"}\n{"step": 1')
    objective: Any = None
    SampleWriter(path, ["a"], objective, seed=0, enabled=True).resume(6)
    assert path.read_bytes() == b'{"step": 5, "text": "a"}\n'


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(
    make_run: MakeRun, work: Work
) -> None:
    run = make_run(
        training__learning_rate=1e30,
        training__max_grad_norm=0.0,
        training__save_steps=1,
        training__warmup_steps=0,
    )
    assert work(run) == 1
    status = run.status()
    assert status.state == "failed" and status.error is not None
    # Rolled back again and again, to a checkpoint whose weights are beyond help.
    assert "The loss became" in status.error["message"] or "The gradient became" in status.error["message"]
    assert "stability.max_rollbacks" in status.error["message"]
    assert "learning_rate" in status.error["hint"]
    assert run.checkpoints() and checkpoint.read(run.checkpoints()[-1]).step >= 1


def test_a_full_disk_ends_the_run_with_the_last_checkpoint_kept(
    make_run: MakeRun, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()

    def full(tensors: Any, path: Path) -> None:
        if "checkpoint-8" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save_file(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        assert work(run) == 1
    status = run.status()
    assert (
        status.state == "failed"
        and status.error is not None
        and status.error["message"] == "the disk is full"
    )
    newest = run.checkpoints()[-1].name
    assert newest in ("checkpoint-4", "checkpoint-5")
    assert work(run) == 0 and run.status().state == "finished"


def test_out_of_memory_is_explained(make_run: MakeRun, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()

    def exhausted(self: loop.Trainer) -> bool:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes"
        )

    monkeypatch.setattr(loop.Trainer, "train_step", exhausted)
    assert work(run) == 1
    error = run.status().error
    assert error is not None and error["message"] == "out of memory" and "batch_size" in error["hint"]


def test_two_workers_on_one_run(
    make_run: MakeRun, work: Work, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    monkeypatch.setattr(worker, "LOCK_PATIENCE_SECONDS", 0.2)
    before = run.status_path.read_bytes()
    with lock_run(run):
        assert work(run) == 1
    assert "another worker is at this run" in capsys.readouterr().err
    assert run.status_path.read_bytes() == before


def test_a_checkpoint_cut_short_is_passed_over(
    make_run: MakeRun, work: Work, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, run = make_run(), make_run()
    work(whole), work(run)
    newest = run.checkpoints()[-1]
    (newest / "model.safetensors").write_bytes(b"short")
    assert work(run) == 0
    assert f"{newest.name} is damaged" in capfd.readouterr().err
    assert curve(run) == curve(whole)


def test_with_every_checkpoint_cut_short_nothing_is_thrown_away(
    make_run: MakeRun, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    with monkeypatch.context() as patch:
        stop_at(6, STOPS["signal"], run, patch)
        work(run)
    before = run.metrics_path.read_bytes()
    for folder in run.checkpoints():
        (folder / "optimizer.safetensors").write_bytes(b"short")
    assert work(run) == 1
    error = run.status().error
    assert error is not None and error["title"] == "Checkpoint"
    assert (
        "optimizer.safetensors has 5 of" in error["message"]
        and "delete it to start the run over" in error["hint"]
    )
    assert run.checkpoints() and run.metrics_path.read_bytes() == before


def test_data_that_changed_is_noticed(
    make_run: MakeRun, work: Work, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    with monkeypatch.context() as patch:
        stop_at(5, STOPS["signal"], run, patch)
        work(run)
    replace_file(corpus, corpus.read_bytes() + b'{"text": "something else"}\n')
    assert work(run) == 1
    error = run.status().error
    assert error is not None and "not what this run began with" in error["message"]


def test_training_goes_on_from_an_existing_model(make_run: MakeRun, work: Work) -> None:
    first = make_run()
    work(first)
    second = make_run(model__model_name_or_path=str(first.final_path))
    assert work(second) == 0
    assert curve(second)["loss"][0][1] < curve(first)["loss"][0][1] - 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__model_name_or_path": "./nowhere"}, "there is no such model folder"),
        ({"data__sources": ["nowhere.txt"]}, "nowhere.txt"),
        ({"data__max_length": 30, "data__sources": ["SMALL"]}, "too short"),
        ({"launch__device": "cuda"}, "no such device"),
    ],
)
def test_bad_input_ends_in_a_clear_state(
    make_run: MakeRun, work: Work, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "small.txt").write_text("very short\n")
    changes = {k: [str(tmp_path / "small.txt")] if v == ["SMALL"] else v for k, v in changes.items()}
    run = make_run(**changes)
    assert work(run) == 1
    status = run.status()
    assert status.state == "failed" and status.error is not None
    assert message in status.error["message"] + status.error["where"]


def test_pickled_weights_are_refused(make_run: MakeRun, work: Work, tmp_path: Path) -> None:
    first = make_run()
    work(first)
    weights = first.final_path / "model.safetensors"
    weights.rename(first.final_path / "pytorch_model.bin")
    run = make_run(model__model_name_or_path=str(first.final_path))
    assert work(run) == 1
    error = run.status().error
    assert error is not None and "pickled" in error["message"]


def test_a_stop_request_looks_at_the_file_once_a_second(tmp_path: Path) -> None:
    run = Run(tmp_path)
    stop = StopRequest(run)
    assert not stop
    run.stop_path.touch()
    assert not stop
