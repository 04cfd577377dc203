"""The estimate of a recipe as a whole: plan, optimum, cache, devices, existing models, and no torch."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from estimate_cases import model_of, recipe_of

from workbench.errors import UsageError
from workbench.models.estimate import (
    GPUS,
    Known,
    Speed,
    estimate,
    find_gpu,
    known_speed,
    on_gpu,
    on_this_machine,
    this_machine,
)
from workbench.models.estimate.compute_optimal import optimal_tokens, predicted_loss
from workbench.models.estimate.memory import FRAGMENTATION, LIBRARIES
from workbench.recipe import Recipe, load

SMALL_BATCH = [
    "training.per_device_train_batch_size=1",
    "training.gradient_accumulation_steps=1",
    "training.bf16=false",
]


def known(recipe: Recipe, labels: int = 2) -> Known:
    found = estimate(recipe, labels=labels)
    assert found.known is not None, found.reason
    return found.known


def test_importing_it_loads_no_deep_learning_library() -> None:
    heavy = ("torch", "transformers", "accelerate", "peft", "datasets", "numpy")
    program = (
        "import sys; from workbench.models.estimate import estimate; from workbench.recipe import load; "
        f"estimate(load('nano')); print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("preset", ["nano", "models/electra-small", "models/t5-small"])
def test_it_is_instant(preset: str) -> None:
    recipe = load(preset)
    estimate(recipe)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        estimate(recipe)
        times.append(time.perf_counter() - began)
    # Half a millisecond here; the bound leaves room for a busy machine.
    assert min(times) < 2e-3


def test_the_plan_counts_every_process_and_micro_batch() -> None:
    overrides = ["training.max_steps=10", "training.gradient_accumulation_steps=3", "launch.num_processes=2"]
    found = known(load("nano", [*overrides, "training.per_device_train_batch_size=4"]))
    assert found.plan.tokens_per_step == 4 * 256 * 3 * 2
    assert found.plan.tokens == found.plan.tokens_per_step * 10
    assert found.plan.flops == found.plan.tokens * found.flops.training
    # Those that share rows read them once, whichever machine they are on.
    far = [
        "launch.num_machines=2",
        "launch.main_process_ip=10.0.0.1",
        "launch.num_processes=4",
        "parallel.tp=4",
    ]
    split = known(load("nano", [*overrides, *far, "training.per_device_train_batch_size=4"]))
    assert split.plan.tokens_per_step == 4 * 256 * 3 * 2 and split.plan.processes == 8
    endless = estimate(load("nano", ["training.max_steps=null"]))
    assert endless.known is not None and endless.known.plan.tokens is None
    assert any("max_steps" in note for note in endless.notes)


def test_the_optimum_is_where_no_other_size_is_better_for_the_compute() -> None:
    for parameters in (1e8, 7e10):
        tokens = optimal_tokens(parameters)
        best = predicted_loss(parameters, tokens)
        for factor in (0.9, 0.99, 1.01, 1.1):
            assert predicted_loss(parameters * factor, tokens / factor) > best
    # About 20 tokens a parameter at the size of Chinchilla.
    assert 17 < optimal_tokens(7e10) / 7e10 < 23


def test_the_law_is_said_to_be_of_decoders() -> None:
    assert known(load("125m")).optimal.applies
    assert not known(load("nano")).optimal.applies
    assert not known(load("models/bert-base")).optimal.applies


def test_the_cache_is_two_numbers_a_layer_head_and_dimension() -> None:
    grouped = known(load("models/350m")).cache
    assert (grouped.own, grouped.cross) == (2 * 26 * 8 * 64 * 2, 0)
    pair = known(recipe_of("t5", "denoise", num_decoder_layers=3)).cache
    assert pair.own == pair.cross == 2 * 3 * 128 * 2
    assert pair.bytes(10, source=7) == 17 * pair.own
    assert known(recipe_of("bert", "mlm")).cache.bytes(100, 100) == 0


def test_memory_follows_the_moment_that_is_fullest() -> None:
    found = known(load("nano")).memory
    assert found.weights == 4 * known(load("nano")).parameters.total
    assert found.optimizer == 2 * found.gradients == 2 * found.weights
    # At the loss: what is kept with the log-probabilities, and two gradients as large as these.
    assert found.moment == "loss"
    step = found.activations + found.logits
    assert found.fragments == pytest.approx(FRAGMENTATION * step, abs=1)
    assert found.peak == found.weights + found.optimizer + LIBRARIES + step + found.fragments
    idle = known(load("125m", [*SMALL_BATCH, "data.max_length=8"])).memory
    assert idle.moment == "end of the backward pass"


def test_adapters_and_frozen_encoders_need_less_memory(tmp_path: Path) -> None:
    folder = save_config(tmp_path, recipe_of("bert", "classification", hidden_size=256))
    full, frozen, lora = (
        known(existing(folder, "classification", method)).memory for method in ("full", "frozen", "lora")
    )
    assert frozen.optimizer < lora.optimizer < full.optimizer / 5
    assert frozen.activations < 0.2 * full.activations
    assert frozen.peak < lora.peak < full.peak


def test_checkpointing_trades_memory_for_operations() -> None:
    plain = known(load("small"))
    again = known(load("small", ["training.gradient_checkpointing=true"]))
    assert again.memory.activations < plain.memory.activations / 3
    assert again.flops.executed > 1.2 * plain.flops.executed
    xlnet = estimate(recipe_with_checkpointing())
    assert any("XLNet" in note for note in xlnet.notes)


def recipe_with_checkpointing() -> Recipe:
    return load("models/xlnet-nano", ["training.gradient_checkpointing=true"])


def save_config(folder: Path, recipe: Recipe) -> Path:
    model = model_of(recipe)
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()))
    if hasattr(model, "generator"):
        (folder / "generator").mkdir()
        (folder / "generator" / "config.json").write_text(json.dumps(model.generator.config.to_dict()))
    return folder


def existing(folder: Path | str, objective: str, method: str = "full") -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"model_name_or_path": str(folder)},
            "objective": {"name": objective},
            "tuning": {"method": method},
            "data": {"max_length": 64},
        }
    )


@pytest.mark.parametrize(
    ("family", "objective"),
    [("llama", "clm"), ("bert", "tagging"), ("electra", "rtd"), ("t5", "denoise"), ("xlnet", "plm")],
)
def test_an_existing_model_is_read_from_its_configuration(
    tmp_path: Path, family: str, objective: str
) -> None:
    wanted = recipe_of(family, objective, hidden_size=96, vocab_size=777)
    folder = save_config(tmp_path, wanted)
    found = known(existing(folder, objective))
    assert found.parameters == known(wanted).parameters


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        ("{", "cannot be used"),
        ("[]", "cannot be used"),
        ('{"model_type": "mamba"}', "mamba"),
        ('{"model_type": "bert", "hidden_size": 8}', "does not say num_attention_heads"),
        ('{"model_type": "bert", "hidden_size": 8, "num_attention_heads": 0}', "cannot be used"),
        ('{"model_type": "bert", "hidden_size": "wide", "num_attention_heads": 1}', "cannot be used"),
    ],
)
def test_a_configuration_that_says_too_little_is_a_reason(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    found = estimate(existing(tmp_path, "mlm"))
    assert found.known is None and reason in found.reason
    assert "hub" in estimate(existing("someone/model", "mlm")).reason


def test_an_existing_tokenizer_decides_the_vocabulary(tmp_path: Path) -> None:
    tokenizer = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"content": "b"}, {"content": "<x>"}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    recipe = load("nano", [f"model.tokenizer_name_or_path={tmp_path}"])
    assert known(recipe).shape.vocabulary == 3
    unknown = estimate(load("nano", ["model.tokenizer_name_or_path=someone/tokenizer"]))
    assert any("someone/tokenizer" in note for note in unknown.notes)


def test_time_and_cost_on_a_gpu() -> None:
    found = known(load("125m"))
    a100 = on_gpu(found, GPUS["A100-80GB"], utilisation=0.5)
    assert found.plan.tokens is not None and a100.seconds is not None and a100.cost is not None
    assert a100.seconds == pytest.approx(found.plan.tokens * found.flops.executed / (0.5 * 312e12))
    assert a100.cost == pytest.approx(a100.seconds / 3600 * GPUS["A100-80GB"].price)
    assert on_gpu(found, GPUS["A100-80GB"], price=0.0).cost == 0
    assert a100.fits and not on_gpu(found, GPUS["T4"]).fits
    pair = known(load("125m", ["launch.num_processes=2", "training.max_steps=4750"]))
    two = on_gpu(pair, GPUS["A100-80GB"], utilisation=0.5)
    assert two.seconds == pytest.approx(a100.seconds / 2) and two.cost == pytest.approx(a100.cost)


def test_gpus_are_found_by_name() -> None:
    assert find_gpu("h100").name == "H100" and find_gpu("rtx 4090").name == "RTX-4090"
    assert find_gpu("A100").name == "A100-80GB"
    with pytest.raises(UsageError, match="H10") as error:
        find_gpu("H10O")
    assert "H100" in error.value.hint


def test_the_speed_of_this_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_speed() is None
    asked: list[Any] = []

    class Done:
        returncode, stderr = 0, ""
        stdout = 'noise\n{"single": 2e11, "half": 1e11, "threads": 2}\n'

    def answer(command: list[str], **options: Any) -> Done:
        asked.append(command)
        return Done()

    monkeypatch.setattr(subprocess, "run", answer)
    assert this_machine.measure_speed() == known_speed() == Speed(2e11, 1e11, 2)
    assert len(asked) == 1
    found = known(load("nano"))
    here = on_this_machine(found, Speed(2e11, 1e11, 2), 16e9)
    assert here.seconds is not None and here.fits and here.cost is None
    slower = on_this_machine(found, Speed(1e11, 1e11, 2), 1e6)
    assert slower.seconds == pytest.approx(2 * here.seconds) and not slower.fits
    this_machine._path().write_text("{}")
    assert known_speed() is None
