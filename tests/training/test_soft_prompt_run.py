"""Runs that learn soft prompts from prompts with completions: what is supervised, resumed and left behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from peft import PeftModel
from safetensors import safe_open
from tiny_run import MakeRun, curve, mapping, text_of
from transformers import AutoModelForCausalLM

from workbench.recipe import validate
from workbench.store import launch
from workbench.store.runs import Run, create_run

DEADLINE = 180.0
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings:UserWarning"),
]
Work = Callable[[Run], int]


@pytest.fixture
def tuned(make_run: MakeRun, work: Work, tmp_path: Path) -> Callable[..., Run]:
    """Makes a run of prompts and completions on a model that a tiny run has left, not started."""
    first = make_run(training__max_steps=2, training__sample_prompts=[])
    assert work(first) == 0
    path = tmp_path / "answers.jsonl"
    records = [{"prompt": text_of(n, 5), "completion": f" {text_of(n + 99, 1)}"} for n in range(40)]
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))

    def make(changes: dict[str, Any] | None = None, **tuning: Any) -> Run:
        settings = {"training__max_steps": 6, "training__save_steps": 3, "training__learning_rate": 1e-2}
        given = mapping(path, **settings | (changes or {}))
        given |= {"model": {"model_name_or_path": str(first.final_path)}, "tuning": tuning}
        given["data"]["max_length"] = 24
        given["data"]["packing"] = False
        given["objective"] = {"name": "sft"}
        return create_run(validate(given, "test"), "tuned")

    return make


@pytest.mark.parametrize(
    "tuning",
    [
        {"method": "prompt", "num_virtual_tokens": 3, "prompt_tuning_init_text": "the cat"},
        {"method": "prefix", "num_virtual_tokens": 3, "prefix_projection": True},
    ],
)
def test_what_goes_on_from_a_checkpoint_is_what_never_stopped(
    tuning: dict[str, Any], tuned: Callable[..., Run], work: Work
) -> None:
    run = tuned(**tuning)
    assert work(run) == 0
    before, final = curve(run), run.final_path / "adapter_model.safetensors"
    written = final.read_bytes()
    assert not (run.final_path / "prefix_projection.safetensors").exists()
    shutil.rmtree(run.path / "checkpoint-6")
    shutil.rmtree(run.final_path)
    assert work(run) == 0
    assert curve(run) == before and final.read_bytes() == written
    base = AutoModelForCausalLM.from_pretrained(run.recipe().model.model_name_or_path)
    plain: Any = PeftModel.from_pretrained(base, str(run.final_path))
    assert plain.active_peft_config.num_virtual_tokens == 3


@pytest.mark.slow
@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_two_processes_learn_what_one_learns(method: str, tuned: Callable[..., Run]) -> None:
    sizes = {1: {"training__per_device_train_batch_size": 8}, 2: {"training__per_device_train_batch_size": 4}}
    runs = [
        tuned({**size, "launch__num_processes": number}, method=method, num_virtual_tokens=3)
        for number, size in sizes.items()
    ]
    for run in runs:
        launch.start(run)
        assert launch.wait(run, DEADLINE) == "finished", run.log_path.read_text()
    one, two = (curve(run) for run in runs)
    for name in ("loss", "grad_norm"):
        assert [v for _, v in two[name]] == pytest.approx([v for _, v in one[name]], rel=5e-4)


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_in_bf16_they_learn_about_the_same(method: str, tuned: Callable[..., Run], work: Work) -> None:
    runs = [tuned({"training__bf16": half}, method=method, num_virtual_tokens=3) for half in (False, True)]
    for run in runs:
        assert work(run) == 0
    precise, half = ([value for _, value in curve(run)["loss"]] for run in runs)
    assert half == pytest.approx(precise, rel=2e-2) and half != precise
    for run in runs:
        with safe_open(run.final_path / "adapter_model.safetensors", "pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F32"}  # noqa: SIM118


def test_more_virtual_tokens_than_the_context_leaves_room_for(
    tuned: Callable[..., Run], work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tuned(method="prompt", num_virtual_tokens=20)
    assert work(run) != 0
    assert "data.max_length 24 and tuning.num_virtual_tokens 20 are together" in capsys.readouterr().err
