"""Runs that learn from preferences: the first step, the reference, and going on from wherever they ended."""

from __future__ import annotations

import io
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from family_templates import OWN, tokenizer_of
from ranked_answers import small_config
from tiny_run import curve, mapping, text_of
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from workbench import paths
from workbench.objectives.preference import reference as reference_module
from workbench.prediction.evaluate import evaluate_recipe
from workbench.prediction.events import Events
from workbench.recipe import load, validate
from workbench.store import launch
from workbench.store.events import read_events
from workbench.store.runs import Run, create_run
from workbench.training import session
from workbench.training.guarding.watch import StepWatch

DEADLINE = 180.0
METRICS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen")
HELD_OUT = tuple(f"eval_{name}" for name in METRICS)
EVERYTHING = ("loss", "grad_norm", "eval_loss", "num_tokens", *METRICS, *HELD_OUT)
Work = Callable[[Run], int]
Make = Callable[..., Run]
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that never learnt anything, with a chat template."""
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = tokenizer_of("smollm2", OWN["smollm2"])
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    # Dropout is off in a run, whatever the model says.
    config = small_config(tokenizer, max_position_embeddings=192, attention_dropout=0.1)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast this machine multiplies is measured at every start, and takes longer than the runs here."""
    monkeypatch.setattr(session, "peak_flops", lambda device, half: 1e12)


@pytest.fixture
def make(policy: Path, tmp_path: Path) -> Make:
    """Makes a run on thirty rankings and pairs, not started; `policy` may be another folder."""
    path = tmp_path / "votes.jsonl"
    lines = []
    for number in range(30):
        answers = [text_of(7 * number + place, 1 + (number + place) % 3) for place in range(2 + number % 2)]
        ranks = list(range(1, len(answers) + 1))
        lines.append({"prompt": text_of(number + 500, 2), "completions": answers, "ranks": ranks})
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))

    def made(changes: dict[str, Any] | None = None, **objective: Any) -> Run:
        settings: dict[str, Any] = {
            "training__max_steps": 6,
            "training__save_steps": 2,
            "training__eval_steps": 3,
            "training__learning_rate": 1e-3,
            "training__adam_beta2": 0.999,
            "training__sample_prompts": [],
            "data__max_length": 160,
            "data__packing": False,
            "model": {},
        }
        given = mapping(path, **settings | (changes or {}))
        model = given.pop("start", {}).get("policy", policy)
        given |= {"model": {"model_name_or_path": str(model)}, "objective": {"name": "dpo", **objective}}
        return create_run(validate(given, "test"), "dpo")

    return made


def cached() -> list[Path]:
    return list(paths.cache_dir("reference-logprobs").glob("*.safetensors"))


def first(run: Run, name: str) -> float:
    return curve(run, name)[name][0][1]


@pytest.mark.parametrize("bf16", [False, True])
def test_the_first_loss_is_ln_2_and_the_first_rewards_are_nothing(make: Make, work: Work, bf16: bool) -> None:
    run = make({"training__bf16": bf16, "training__eval_on_start": True, "training__max_steps": 3})
    assert work(run) == 0, run.log_path
    assert first(run, "loss") == first(run, "eval_loss") == pytest.approx(0.6931472, abs=1e-7)
    for name in (*METRICS[:4], *HELD_OUT[:4]):
        assert first(run, name) == 0.0, name
    assert first(run, "logps/chosen") < -10
    assert curve(run, "loss")["loss"][-1][1] != first(run, "loss")
    # What is left behind loads anywhere, and remembers nothing of how it was trained.
    model = AutoModelForCausalLM.from_pretrained(run.final_path)
    assert model.config._attn_implementation == "sdpa"


def test_a_resumed_run_is_one_that_never_stopped_with_or_without_its_cache(make: Make, work: Work) -> None:
    run = make({"training__metric_for_best_model": "rewards/accuracies"})
    assert work(run) == 0
    before, weights = curve(run, *EVERYTHING), (run.final_path / "model.safetensors").read_bytes()
    values = cached()[0].read_bytes()
    for is_kept in (True, False):
        for folder in (*run.checkpoints()[1:], run.final_path):
            shutil.rmtree(folder)
        if not is_kept:
            cached()[0].unlink()
        assert work(run) == 0
        assert curve(run, *EVERYTHING) == before
        assert (run.final_path / "model.safetensors").read_bytes() == weights
        assert cached()[0].read_bytes() == values


def test_the_reference_is_never_a_policy_that_has_moved(
    make: Make, work: Work, policy: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(policy, other)
    changes = {"start__policy": other, "training__max_steps": 2}
    own, named = make(changes), make({"training__max_steps": 2}, ref_model_name_or_path=str(other))
    for run in (own, named):
        assert work(run) == 0
        shutil.rmtree(run.final_path)
    for path in cached():
        path.unlink()
    model = AutoModelForCausalLM.from_pretrained(policy)
    model.lm_head.weight.data.add_(0.1)
    model.save_pretrained(other)
    assert work(own) == 1
    error = own.status().error
    assert error is not None and "its weights have changed" in error["message"]
    shutil.copytree(policy, other, dirs_exist_ok=True)
    config = orjson.loads((other / "config.json").read_bytes()) | {"rms_norm_eps": 1e-3}
    (other / "config.json").write_bytes(orjson.dumps(config))
    assert work(own) == 1
    error = own.status().error
    assert error is not None and "its settings have changed" in error["message"]
    shutil.rmtree(other)
    assert work(named) == 1
    error = named.status().error
    assert error is not None and "the reference cannot be loaded" in error["message"]


def test_after_a_rollback_the_reference_knows_the_rows_that_come_in_the_place_of_others(
    make: Make, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Short of an epoch: the reference was computed for the rows that were to be met, and no more.
    run = make({"training__max_steps": 3, "training__save_steps": 1}, precompute_ref_log_probs=True)
    see, broken = StepWatch.loss, [2]

    def loss(self: StepWatch, value: float) -> None:
        see(self, float("nan") if self.trainer.state.step in broken and broken.pop() else value)

    monkeypatch.setattr(StepWatch, "loss", loss)
    assert work(run) == 0, run.log_path
    [event] = read_events(run.events_path)
    assert (event.step, event.to_step, event.rows and event.rows["first"]) == (3, 2, 8)
    assert all(math.isfinite(value) for _, value in curve(run, "loss")["loss"])
    assert event.rows is not None and all(len(row["records"]) == 1 for row in event.rows["rows"])


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_reference_in_memory_says_what_a_precomputed_one_says(make: Make, work: Work, method: str) -> None:
    changes = {"tuning__method": method, "training__max_steps": 4, "training__eval_steps": 2}
    runs = [make(changes, precompute_ref_log_probs=precompute) for precompute in (True, False)]
    for run in runs:
        assert work(run) == 0
    ours, theirs = (curve(run, *EVERYTHING) for run in runs)
    assert first(runs[1], "rewards/chosen") == 0.0
    assert ours["loss"] == theirs["loss"]
    if method == "full":
        # And so it is after a stop, when the policy on disk is another.
        _goes_on(runs[1], theirs, work)
    else:
        # A finished run evaluated again, against the model that it began with.
        _is_evaluated(runs[0], ours)


def _goes_on(run: Run, before: Any, work: Work) -> None:
    for folder in (*run.checkpoints()[1:], run.final_path):
        shutil.rmtree(folder)
    assert work(run) == 0
    assert curve(run, *EVERYTHING) == before


def _is_evaluated(run: Run, logged: Any) -> None:
    stream, recipe = io.BytesIO(), load(str(run.recipe_path)).model_dump(mode="json")
    request = {"model": str(run.final_path), "run": str(run.path), "recipe": recipe, "where": "test"}
    evaluate_recipe(request, Events(stream))
    found = orjson.loads(stream.getvalue().splitlines()[-1])["metrics"]
    best = min(range(2), key=lambda n: logged["eval_loss"][n][1])
    for name in ("eval_loss", *HELD_OUT):
        assert found[name] == pytest.approx(logged[name][best][1], rel=1e-5, abs=1e-6), name


def test_another_model_as_reference_must_have_the_same_tokens(
    make: Make, work: Work, policy: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    tokenizer_of("gemma", OWN["gemma"]).save_pretrained(other)
    AutoModelForCausalLM.from_pretrained(policy).save_pretrained(other)
    run = make(ref_model_name_or_path=str(other))
    assert work(run) == 1
    error = run.status().error
    assert error is not None and "reads other tokens" in error["message"]
    shutil.copytree(policy, other, dirs_exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(policy)
    model.lm_head.weight.data.mul_(1.5)
    model.save_pretrained(other)
    run = make({"training__max_steps": 1}, ref_model_name_or_path=str(other))
    assert work(run) == 0
    assert abs(first(run, "rewards/chosen")) > 1e-3


def test_a_stop_while_the_reference_is_asked_keeps_what_it_said(
    make: Make, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = make(), list[int]()
    scored = reference_module.Reference._scored

    def counting(self: Any, *arguments: Any) -> Any:
        asked.append(1)
        if len(asked) == 3 and run.status().state != "finished":
            os.kill(os.getpid(), signal.SIGTERM)
        return scored(self, *arguments)

    monkeypatch.setattr(reference_module.Reference, "_scored", counting)
    assert work(run) == 0 and run.status().state == "stopped"
    assert len(asked) == 3 and not run.checkpoints()
    assert work(run) == 0 and run.status().state == "finished"
    batches = len(asked)
    asked.clear()
    whole = make()
    for path in cached():
        path.unlink()
    assert work(whole) == 0
    assert len(asked) == batches and curve(run, *EVERYTHING) == curve(whole, *EVERYTHING)


@pytest.fixture
def killed() -> Iterator[Callable[[Run, Callable[[], bool]], None]]:
    """Starts a worker, and kills it when something is so."""

    def kill(run: Run, wanted: Callable[[], bool]) -> None:
        launch.start(run)
        until = time.monotonic() + DEADLINE
        while not wanted():
            assert time.monotonic() < until, run.log_path.read_text()
            time.sleep(0.002)
        process = run.status().process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        assert launch.wait(run, DEADLINE) == "lost"

    yield kill


@pytest.mark.slow
def test_killed_and_resumed_nothing_shows(make: Make, work: Work, killed: Any) -> None:
    changes = {"training__max_steps": 40, "training__save_steps": 3, "training__eval_steps": 20}
    whole, run = make(changes), make(changes)
    assert work(whole) == 0
    for path in cached():
        path.unlink()
    killed(run, lambda: run.metrics_path.exists() and b'"step":7,' in run.metrics_path.read_bytes())
    assert work(run) == 0
    assert curve(run, *EVERYTHING) == curve(whole, *EVERYTHING)
    assert (run.final_path / "model.safetensors").read_bytes() == (
        whole.final_path / "model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(make: Make, work: Work) -> None:
    sizes = {"training__per_device_train_batch_size": 2, "launch__num_processes": 2}
    one, two = make({"training__max_steps": 4}), make({"training__max_steps": 4, **sizes})
    assert work(one) == 0
    launch.start(two)
    assert launch.wait(two, DEADLINE) == "finished", two.log_path.read_text()
    ours, theirs = curve(two, *EVERYTHING), curve(one, *EVERYTHING)
    assert first(two, "rewards/chosen") == 0.0
    for name in ("loss", "eval_loss", "grad_norm", "rewards/margins"):
        assert [v for _, v in ours[name]] == pytest.approx([v for _, v in theirs[name]], rel=2e-3, abs=1e-6)
    assert ours["num_tokens"] == theirs["num_tokens"]
