"""A run evaluated again gives what its last evaluation gave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from task_records import TaskSetting, record_of
from tiny_run import mapping, text_of

from workbench.recipe import load, validate
from workbench.store import launch
from workbench.store.runs import Run, create_run

Ask = Callable[..., list[dict[str, Any]]]
CASES = ("clm", "mlm", "rtd", "classification", "lora")


def run_of(case: str, folder: Path) -> Run:
    """A finished run of four steps."""
    corpus = folder / "corpus.jsonl"
    task = case in ("classification", "lora")
    if task:
        setting = TaskSetting("classification")
        setting.model.save_pretrained(folder / "base")
        setting.tokenizer.save_pretrained(folder / "base")
        records = [record_of("classification", number) for number in range(60)]
        objective = "classification"
    else:
        records = [{"text": text_of(number, 60)} for number in range(60)]
        objective = case
    corpus.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    recipe = mapping(
        corpus,
        objective__name=objective,
        training__max_steps=4,
        training__eval_steps=2,
        training__sample_prompts=[],
        training__max_eval_batches=None,
    )
    recipe["model"]["num_key_value_heads"] = None
    recipe["model"]["family"] = {"clm": "llama", "mlm": "bert", "rtd": "electra"}.get(case, "bert")
    if case in ("mlm", "rtd"):
        recipe["model"]["vocab_size"] = 420
    if task:
        recipe["model"] = {"model_name_or_path": str(folder / "base")}
    if case == "lora":
        recipe["tuning"] = {"method": "lora", "r": 4}
    run = create_run(validate(recipe, "test"), "tiny")
    launch.start(run)
    assert launch.wait(run, 120) == "finished", run.log_path.read_text()
    return run


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("case", CASES)
def test_a_run_evaluated_again_gives_the_same(ask: Ask, tmp_path: Path, case: str) -> None:
    run = run_of(case, tmp_path)
    lines = [orjson.loads(line) for line in run.metrics_path.read_bytes().splitlines()]
    logged = [line for line in lines if "eval_loss" in line]
    best = min(logged, key=lambda line: line["eval_loss"])
    recipe = load(str(run.recipe_path)).model_dump(mode="json")
    request = {"model": str(run.final_path), "run": str(run.path), "recipe": recipe, "where": "test"}
    *_, result = ask("evaluate_recipe", **request)
    for name, value in result["metrics"].items():
        assert value == pytest.approx(best[name], rel=1e-6), name
    assert ("confusion" in result) == (case in ("classification", "lora"))
