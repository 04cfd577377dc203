"""Every objective with its model sharded over two processes: the curves of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from many_workers import assert_same_curve, train
from ranked_answers import chat_tokenizer, rankings, small_config
from task_records import record_of, tokenizer_for
from tiny_run import mapping, text_of
from transformers import LlamaForCausalLM

from workbench.recipe import validate
from workbench.store.runs import Run, create_run

ENCODER = {"family": "bert", "num_key_value_heads": None, "max_position_embeddings": 64}
WRITER = {"model_name_or_path": "writer"}
LORA = {"method": "lora", "r": 4, "target_modules": ["q_proj", "v_proj"]}
KINDS: dict[str, dict[str, Any]] = {
    "mlm": {"model": ENCODER},
    "rtd": {"model": ENCODER | {"family": "electra"}},
    "plm": {"model": ENCODER | {"family": "xlnet"}},
    "denoise": {"model": ENCODER | {"family": "t5"}},
    "classification": {"model": ENCODER},
    "regression": {"model": ENCODER},
    "tagging": {"model": ENCODER},
    "span_extraction": {"model": ENCODER, "data": {"max_length": 48}},
    "clm": {"model": WRITER, "tuning": LORA},
    "sft": {"model": WRITER},
    "dpo": {"model": WRITER},
    "reward": {"model": WRITER},
}
PLAIN = ("mlm", "rtd", "plm", "denoise", "clm")
PREFERENCES = ("dpo", "reward")
STEPS, ROWS = 4, 8
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class Trained:
    """The runs of each objective: by one process, and sharded over two."""

    one: dict[str, Run]
    sharded: dict[str, Run]


def records(kind: str) -> list[dict[str, Any]]:
    """What an objective learns from."""
    if kind in PLAIN:
        return [{"text": text_of(number, 40 + number)} for number in range(40)]
    if kind in PREFERENCES:
        return rankings(40)
    if kind == "sft":
        texts = [(text_of(number, 3), text_of(900 + number, 4)) for number in range(40)]
        return [{"prompt": prompt, "completion": completion} for prompt, completion in texts]
    return [record_of(kind, number) for number in range(60)]


def recipe_of(kind: str, folder: Path, processes: int) -> Any:
    """The same rows of a step in each."""
    path = folder / f"{kind}.jsonl"
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records(kind)))
    changes = {
        "training__max_steps": STEPS,
        "training__per_device_train_batch_size": ROWS // processes,
        "training__eval_steps": STEPS // 2,
        "training__save_steps": STEPS,
        "training__sample_prompts": [],
        "launch__num_processes": processes,
    }
    recipe = mapping(path, **changes)
    given = KINDS[kind]
    if given["model"] is WRITER:
        recipe["model"] = {"model_name_or_path": str(folder / "writer")}
        recipe["data"] |= {"max_length": 160, "packing": False}
    else:
        recipe["model"] |= given["model"]
        if kind not in PLAIN:
            recipe["model"] |= {"tokenizer_name_or_path": str(folder / "tokenizer"), "vocab_size": 380}
    recipe["data"] |= given.get("data", {})
    recipe["objective"] = {"name": kind}
    recipe["tuning"] = given.get("tuning", {})
    recipe["parallel"] = {"dp_shard": processes}
    return validate(recipe, "test")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """All of them, by one set of processes."""
    folder = tmp_path_factory.mktemp("sharded")
    tokenizer = chat_tokenizer()
    torch.manual_seed(3)
    LlamaForCausalLM(small_config(tokenizer)).save_pretrained(folder / "writer")
    tokenizer.save_pretrained(folder / "writer")
    tokenizer_for("bert").save_pretrained(folder / "tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", str(folder / "home"))
        one, sharded = (
            {kind: create_run(recipe_of(kind, folder, processes), f"{kind}-{processes}") for kind in KINDS}
            for processes in (1, 2)
        )
        jobs: list[tuple[str, int, str | None]] = [
            (str(run.path), processes, None)
            for processes, runs in ((1, one), (2, sharded))
            for run in runs.values()
        ]
        train(jobs, folder)
    return Trained(one, sharded)


def test_a_sharded_model_learns_as_a_whole_one(trained: Trained) -> None:
    # One test of all, for in several workers each would train them anew.
    for kind in KINDS:
        assert_same_curve(trained.sharded[kind], trained.one[kind])
