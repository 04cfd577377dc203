"""Whole runs in this process: adapters, guards, being stopped, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ppo_setting import recipe_of, save_reward_model
from tiny_run import curve
from transformers import AutoModelForCausalLM

from workbench.errors import RecipeError
from workbench.recipe import validate
from workbench.store.events import read_events
from workbench.store.runs import Run
from workbench.training.ppo.trainer import PPOTrainer
from workbench.training.stop import Stopped

Work = Callable[[Run], int]
MakeRun = Callable[..., Run]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_rloo_with_adapters_raises_its_score(make_ppo_run: MakeRun, work: Work, setting: Path) -> None:
    run = make_ppo_run(
        ppo__advantage="rloo",
        ppo__num_generations=4,
        ppo__num_ppo_epochs=1,
        ppo__rollout_engine="transformers",
        ppo__reward_pattern="^[a-m. ]*$",
        ppo__kl_coef=0.01,
        ppo__response_length=4,
        tuning__method="lora",
        tuning__r=4,
        training__max_steps=10,
        training__per_device_train_batch_size=16,
        training__gradient_accumulation_steps=1,
        training__learning_rate=2e-2,
        training__gradient_checkpointing=True,
        training__save_steps=10,
        training__eval_steps=10,
        training__eval_on_start=True,
        training__sample_prompts=["the "],
    )
    assert work(run) == 0, run.status().error
    scores = [value for _, value in curve(run, "eval_score")["eval_score"]]
    rollouts = [value for _, value in curve(run, "objective/scores")["objective/scores"]]
    assert sum(rollouts[-3:]) > sum(rollouts[:3]) + 0.3 and len(scores) == 2
    kl = [value for _, value in curve(run, "objective/kl")["objective/kl"]]
    assert kl[0] == 0 and kl[-1] > 0
    from peft import PeftModel

    base = AutoModelForCausalLM.from_pretrained(setting / "policy")
    assert isinstance(PeftModel.from_pretrained(base, run.final_path), PeftModel)
    kept = [json.loads(line) for line in run.rollouts_path.read_text().splitlines()]
    assert len(kept) == 20 and {record["step"] for record in kept} == set(range(1, 11))
    for record in kept:
        assert len(record["pieces"]) == len(record["kl"]) <= 4 and "values" not in record
        text = "".join(record["pieces"])
        assert (record["score"] == 1) == bool(re.search("^[a-m. ]*$", text.removesuffix("<eos>")))
        assert record["ended"] == text.endswith("<eos>")
    assert json.loads(run.samples_path.read_text().splitlines()[0])["text"] is not None


def test_a_guard_ends_a_run_with_a_checkpoint_and_says_why(
    make_ppo_run: MakeRun, work: Work, capfd: pytest.CaptureFixture[str]
) -> None:
    common = {
        "ppo__num_ppo_epochs": 1,
        "ppo__num_mini_batches": 1,
        "ppo__guard_kl_limit": 1e-6,
        "ppo__guard_recent": 6,
        "training__max_steps": 8,
        "training__learning_rate": 1e-2,
    }
    run = make_ppo_run(**common)
    assert work(run) == 1
    error = run.status().error
    assert error is not None and "running away from the reference" in error["message"]
    [event] = read_events(run.events_path)
    assert (event.kind, event.action, event.step) == ("kl_runaway", "stopped", 6)
    assert "checkpoint-5" in event.done and event.numbers["objective/kl"] > 1e-6
    assert "checkpoint-5" in error["hint"] and [path.name for path in run.checkpoints()][-1] == "checkpoint-5"
    capfd.readouterr()
    going_on = make_ppo_run(**common, ppo__guard="warn")
    assert work(going_on) == 0
    assert capfd.readouterr().err.count("running away from the reference") == 1
    assert [event.action for event in read_events(going_on.events_path)] == ["warned"]


def test_a_policy_that_never_ends_is_told_of(
    make_ppo_run: MakeRun, work: Work, capfd: pytest.CaptureFixture[str]
) -> None:
    # Of one letter nobody ends.
    run = make_ppo_run(ppo__response_length=1, ppo__num_ppo_epochs=1, training__seed=11)
    assert work(run) == 0
    ended = [value for _, value in curve(run, "rollout/ended")["rollout/ended"]]
    told = "not one answer of the last 3 iterations came to an end" in capfd.readouterr().err
    assert told == any(ended[n : n + 3] == [0, 0, 0] for n in range(2))
    assert told


def test_asked_to_stop_in_the_midst_of_a_rollout_it_keeps_what_it_learned(
    make_ppo_run: MakeRun, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_ppo_run(training__save_steps=4)

    def writing(self: PPOTrainer, done: int, total: int) -> None:
        if self.state.step == 1 and done:
            raise Stopped

    monkeypatch.setattr(PPOTrainer, "_writing", writing)
    assert work(run) == 0
    assert run.status().state == "stopped" and [path.name for path in run.checkpoints()] == ["checkpoint-1"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ppo__advantage": "rloo"}, "num_generations"),
        ({"ppo__kl_controller": "adaptive"}, "kl_target"),
        ({"ppo__reward_pattern": "("}, "no regular expression"),
        ({"ppo__reward_label": "good"}, "reward_model_path"),
        ({"ppo__reward_weights": {"model": 2.0}}, "no reward_model here"),
        ({"ppo__guard_recent": 2}, "too few iterations"),
        ({"ppo__num_generations": 3}, "no multiple"),
        ({"ppo__missing_eos_penalty": -1}, "greater than or equal"),
        ({"launch__num_processes": 2}, "one process"),
        ({"training__fp16": True}, "fp32 or bf16"),
        ({"training__torch_compile": True}, "not compiled"),
        ({"training__load_best_model_at_end": True}, "metric_for_best_model=score"),
        ({"tuning__method": "prompt", "data__packing": False}, "full or lora"),
        ({"model__model_name_or_path": None}, "model.model_name_or_path"),
    ],
)
def test_recipes_that_do_not_fit(setting: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        validate(recipe_of(setting, **changes), "test")


def test_rewards_that_cannot_be_had(make_ppo_run: MakeRun, work: Work, setting: Path, tmp_path: Path) -> None:
    labelled = save_reward_model(tmp_path / "labelled", labels=2)
    for changes, said in (
        ({"ppo__reward_pattern": None}, "no reward to learn from"),
        ({"ppo__reward_model_path": str(setting / "policy")}, "not a sequence classifier"),
        ({"ppo__reward_model_path": str(labelled)}, "2 labels and none is named"),
        ({"ppo__reward_function": "nowhere:f"}, "no module 'nowhere'"),
        ({"ppo__response_length": 64}, "leave no room"),
    ):
        run = make_ppo_run(**changes)
        assert work(run) == 1
        error = run.status().error
        assert error is not None and said in error["message"], error
    assert torch.get_num_threads() == 1
