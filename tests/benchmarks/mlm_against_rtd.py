"""Masked language modelling against replaced token detection, for equal compute and then on a task.

Pre-trains one encoder shape with each objective on the same text and tokenizer, for as many steps as
make the same number of FLOPs (counted by torch on a real step, generator included), then fine-tunes both
(`--baseline`: and one that was not pre-trained at all) on sentence classification; several seeds of each.

    python tests/benchmarks/mlm_against_rtd.py TEXT --train T.tsv --dev D.tsv --test E.tsv \
        [--steps 1500] [--seeds 0 1 2] [--baseline] [--set …] [--task-set …]

TEXT is a file, or several; the others are tab-separated without a header: text, label. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from pretraining_worth import evaluate, fine_tune
from torch.utils.flop_counter import FlopCounterMode

from workbench import paths, recipe
from workbench.models.context import context_of
from workbench.objectives import OBJECTIVES
from workbench.recipe import Recipe
from workbench.training.prepare import prepare_recipe
from workbench.training.starting_model import purpose_of, row_length, starting_model


def flops_of_a_step(wanted: Recipe) -> float:
    """FLOPs of one forward and backward pass of a batch, as torch counts them."""
    length = row_length(wanted, context_of(wanted.model))
    prepared = prepare_recipe(wanted, length, lambda what, done, total: None)
    model: Any = starting_model(wanted, prepared.tokenizer, purpose_of(wanted), None)
    objective = OBJECTIVES[wanted.objective.name](wanted, prepared.tokenizer)
    rows = objective.rows(prepared.train, length, training=True)
    batch = rows.batch(0, wanted.training.per_device_train_batch_size)
    with FlopCounterMode(display=False) as counter:
        objective.loss(model, objective.tensors(batch, torch.device("cpu")), batch).sums.sum().backward()
    return float(counter.get_total_flops())


def pretraining(objective: str, texts: list[Path], steps: int, seed: int, rest: list[str]) -> list[str]:
    """The overrides of a pre-training run."""
    return [
        f"objective.name={objective}",
        f"data.sources={json.dumps([str(path.resolve()) for path in texts])}",
        f"training.max_steps={steps}",
        f"training.seed={seed}",
        *rest,
    ]


def summary(accuracies: list[float]) -> dict[str, Any]:
    """Mean and standard deviation over seeds."""
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    return {"each": accuracies, "mean": statistics.mean(accuracies), "stdev": spread}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("texts", type=Path, nargs="+")
    for name in ("train", "dev", "test"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--preset", default="electra-nano")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--task-set", nargs="*", default=[], help="overrides of the fine-tuning")
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the pre-training")
    parser.add_argument("--baseline", action="store_true", help="also without any pre-training")
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    task = [
        f"data.{side}=[{{path: '{path.resolve()}', columns: [text, label]}}]"
        for side, path in (("sources", options.train), ("eval_sources", options.dev))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ[paths.HOME_VARIABLE] = str((options.home or Path(scratch)).resolve())

        def wanted(objective: str, steps: int, seed: int) -> list[str]:
            return pretraining(objective, options.texts, steps, seed, options.set)

        flops = {
            name: flops_of_a_step(recipe.load(options.preset, wanted(name, 1, 0))) for name in ("mlm", "rtd")
        }
        steps = {name: round(options.steps * flops["mlm"] / flops[name]) for name in flops}
        told: dict[str, Any] = {"flops_a_step": flops, "steps": steps, "runs": []}
        names = ("mlm", "rtd", "none") if options.baseline else ("mlm", "rtd")
        found: dict[str, list[float]] = {name: [] for name in names}
        folder = Path()
        for seed in options.seeds:
            for name in found:
                shape = recipe.load(options.preset).model
                begun: dict[str, Any] = {}
                if name == "none":
                    # The tokenizer of the pre-trained ones, and random weights of the same shape.
                    model = [f"model.tokenizer_name_or_path='{folder}'", "model.model_name_or_path=null"]
                    keys = type(shape).model_fields
                    model += [
                        f"model.{key}={json.dumps(getattr(shape, key))}" for key in keys if "path" not in key
                    ]
                else:
                    folder, begun = fine_tune(
                        options.preset, wanted(name, steps[name], seed), f"{name}-{seed}"
                    )
                    model = [f"model.model_name_or_path='{folder}'"]
                tuned = [*task, *model, f"training.seed={seed}", *options.task_set]
                final, ended = fine_tune("classify", tuned, f"{name}-{seed}-task")
                test = evaluate(final, options.test)
                found[name].append(test["metrics"]["eval_accuracy"])
                told["runs"].append({"objective": name, "seed": seed, "pretraining": begun, "task": ended})
    print(json.dumps({**told, "accuracy": {name: summary(each) for name, each in found.items()}}, indent=1))


if __name__ == "__main__":
    main()
