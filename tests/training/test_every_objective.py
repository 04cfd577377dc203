"""Every pre-training objective through a real worker: it ends, its model loads, a kill changes nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import transformers
from tiny_run import MakeRun, curve

from workbench.store import launch
from workbench.store.metrics import read_metrics
from workbench.store.runs import Run

DEADLINE = 180.0
KINDS: dict[str, dict[str, Any]] = {
    "bert": {"family": "bert", "objective": "mlm", "loads": "BertForMaskedLM"},
    "bert-pairs": {
        "family": "bert",
        "objective": "mlm",
        "loads": "BertForPreTraining",
        "objective__next_sentence_prediction": True,
        "objective__whole_word_mask": True,
    },
    "modernbert": {"family": "modernbert", "objective": "mlm", "loads": "ModernBertForMaskedLM"},
    "xlnet": {"family": "xlnet", "objective": "plm", "loads": "XLNetLMHeadModel"},
    "electra": {"family": "electra", "objective": "rtd", "loads": "ElectraForPreTraining"},
    "t5": {"family": "t5", "objective": "denoise", "loads": "T5ForConditionalGeneration"},
    "bart": {
        "family": "bart",
        "objective": "denoise",
        "loads": "BartForConditionalGeneration",
        "objective__noise": "infilling",
        "data__packing": False,
    },
}
METRICS = {
    "mlm": {"eval_mean_token_accuracy", "pseudo_perplexity"},
    "plm": {"eval_mean_token_accuracy"},
    "rtd": {
        "eval_generator_accuracy",
        "eval_discriminator_precision",
        "eval_discriminator_recall",
        "eval_replaced_share",
    },
    "denoise": {"eval_mean_token_accuracy", "eval_span_exact_match"},
}


def settings(kind: str, **more: Any) -> dict[str, Any]:
    """Two layers of 32 on rows of 32 tokens, with dropout, so that torch's own generator matters too."""
    changes = {key: value for key, value in KINDS[kind].items() if "__" in key}
    return {
        "model__family": KINDS[kind]["family"],
        "model__vocab_size": 420,
        "model__num_key_value_heads": None,
        "model__dropout": 0.1,
        "objective__name": KINDS[kind]["objective"],
        "training__sample_prompts": [],
        "training__eval_steps": 5,
        **changes,
        **more,
    }


def names_of(run: Run) -> set[str]:
    """The metrics that a run has logged."""
    return {name for line in run.metrics_path.read_bytes().splitlines() for name in orjson.loads(line)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_ends_and_its_model_loads_anywhere(make_run: MakeRun, kind: str) -> None:
    run = make_run(**settings(kind))
    launch.start(run)
    assert launch.wait(run, DEADLINE) == "finished", run.log_path.read_text()
    assert METRICS[KINDS[kind]["objective"]] <= names_of(run)
    losses = [value for _, value in curve(run, "eval_loss")["eval_loss"]]
    assert losses[-1] < losses[0]
    samples = [orjson.loads(line) for line in run.samples_path.read_bytes().splitlines()]
    assert samples and all(sample["text"] for sample in samples)
    loaded, missing = load(run.final_path, KINDS[kind]["loads"])
    assert type(loaded).__name__ == KINDS[kind]["loads"] and not missing
    assert not (run.final_path / "generator").exists()


def load(folder: Path, name: str) -> tuple[Any, set[str]]:
    """A model as plain transformers loads it, and the weights that the folder lacks."""
    model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    return model, set(info["missing_keys"]) | set(info["unexpected_keys"])


def wait_for_step(run: Run, step: int) -> bool:
    """Wait until the worker has logged a step; False when it ended first."""
    while run.status().is_active:
        if run.metrics_path.exists() and f'"step":{step},'.encode() in run.metrics_path.read_bytes():
            return True
        time.sleep(0.002)
    return False


@pytest.mark.slow
def test_activations_are_recomputed_where_that_is_possible(make_run: MakeRun) -> None:
    few = {"training__max_steps": 2, "training__gradient_checkpointing": True, "training__eval_steps": 2}
    electra, xlnet = make_run(**settings("electra", **few)), make_run(**settings("xlnet", **few))
    for run, state in ((electra, "finished"), (xlnet, "failed")):
        launch.start(run)
        assert launch.wait(run, DEADLINE) == state, run.log_path.read_text()
    error = xlnet.status().error
    assert error is not None and "cannot recompute its activations" in error["message"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_the_curve_and_the_weights_are_the_same(make_run: MakeRun, kind: str) -> None:
    steps = {"training__max_steps": 40, "training__per_device_train_batch_size": 8}
    changes = settings(kind, **steps, training__save_steps=3, training__eval_steps=10)
    whole, run = make_run(**changes), make_run(**changes)
    launch.start(whole)
    assert launch.wait(whole, DEADLINE) == "finished", whole.log_path.read_text()
    for step in (5, 23):
        launch.start(run)
        assert wait_for_step(run, step), run.log_path.read_text()
        process = run.status().process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        assert launch.wait(run, DEADLINE) == "lost"
    launch.start(run)
    assert launch.wait(run, DEADLINE) == "finished", run.log_path.read_text()
    assert read_metrics(run.metrics_path).series("epoch")[1][-1] > 1
    names = sorted(names_of(whole) - {"time", "step", "mfu", "tokens_per_second", "memory/cpu_gib"})
    assert curve(run, *names) == curve(whole, *names)
    for path in whole.checkpoints()[-1].rglob("*.safetensors"):
        other = run.checkpoints()[-1] / path.relative_to(whole.checkpoints()[-1])
        assert other.read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert-pairs", "xlnet", "electra", "t5"])
def test_two_processes_give_the_curve_of_one(make_run: MakeRun, kind: str) -> None:
    common = settings(kind, training__max_steps=10, training__eval_steps=5, model__dropout=None)
    one = make_run(**common, training__per_device_train_batch_size=8)
    two = make_run(**common, training__per_device_train_batch_size=4, launch__num_processes=2)
    for run in (one, two):
        launch.start(run)
        assert launch.wait(run, DEADLINE) == "finished", run.log_path.read_text()
    ours, theirs = curve(two), curve(one)
    for name in ("loss", "grad_norm", "eval_loss"):
        assert [v for _, v in ours[name]] == pytest.approx([v for _, v in theirs[name]], rel=5e-4)
    assert ours["num_tokens"] == theirs["num_tokens"]
