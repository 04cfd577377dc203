"""A step of direct preference optimisation: the workbench's own `Trainer` against TRL's `DPOTrainer`.

    PYTHONPATH=TRL python tests/benchmarks/dpo_trl.py MODEL_FOLDER [--bf16] [--rounds 2]

TRL is not a dependency: unpack version 1.16 and what it lacks into a folder and name it in PYTHONPATH. All
train from the same weights on the same pairs, prompt and answers of one length, with AdamW fused, no decay,
gradients clipped at 1, a constant rate; none recomputes activations, and bf16 is autocast over fp32 weights.
TRL runs with its defaults (`trl`) and with its `precompute_ref_log_probs` (`trl_precomputed`); what is
computed beforehand is in nobody's steps. Each takes its steps in a process of its own; the processes take
turns, round by round. The ratios are of the medians of all steps but each process's first. CPU seconds (of
all threads of the process) are what a busy machine disturbs least, with one thread they are the step's time.
Peak memory is the process's, loading included (VmHWM, of Linux). Prints JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timed_steps import Clock, taken_in_turns, tell, timed_steps, train_with, trainer_settings

RATE = 1e-6
WAYS = ("workbench", "trl", "trl_precomputed")


def tokens_of(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens [pairs of all steps, length] of prompts and of both answers."""
    dice = np.random.default_rng(0)
    count = options.steps * options.pairs
    lengths = {"prompt": options.prompt, "chosen": options.answer, "rejected": options.answer}
    return {name: dice.integers(3, 40_000, (count, length)) for name, length in lengths.items()}


def store_of(options: argparse.Namespace) -> Any:
    """The same pairs as the workbench keeps them."""
    from workbench.data.records import PreferenceStore

    tokens = tokens_of(options)
    count = len(tokens["prompt"])
    answers = np.stack([tokens["chosen"], tokens["rejected"]], 1).reshape(-1)
    return PreferenceStore(
        side="train",
        records=[],
        examples=np.arange(count),
        prompt_ids=tokens["prompt"].reshape(-1).astype(np.int32),
        prompt_offsets=np.arange(count + 1) * options.prompt,
        answer_ids=answers.astype(np.int32),
        answer_mask=np.ones(len(answers), np.bool_),
        answer_offsets=np.arange(2 * count + 1) * options.answer,
        firsts=np.arange(count + 1) * 2,
        ranks=np.tile([1, 2], count),
        margins=np.zeros(count, np.float32),
        max_length=options.prompt + options.answer,
    )


def workbench_steps(options: argparse.Namespace, clock: Clock) -> list[float]:
    """The workbench's loop; the loss of each step."""
    from workbench import paths, recipe
    from workbench.store.runs import create_run
    from workbench.training.beginning import beginning_of
    from workbench.training.reporter import Reporter
    from workbench.training.session import make_accelerator, set_threads, set_up
    from workbench.training.starting_model import purpose_of
    from workbench.training.stop import StopRequest

    with tempfile.TemporaryDirectory() as home:
        os.environ[paths.HOME_VARIABLE] = home
        source = Path(home) / "pairs.jsonl"
        pair = {"chosen": "two", "rejected": "three"}
        lines = (json.dumps({"prompt": f"one of {n}", **pair}) for n in range(2 * options.pairs))
        source.write_text("\n".join(lines))
        overrides = {
            "model.model_name_or_path": options.model,
            "data.sources": json.dumps([str(source)]),
            "data.shuffle": "false",
            "data.eval_fraction": 0,
            "data.max_length": options.prompt + options.answer,
            "training.per_device_train_batch_size": options.pairs,
            "training.gradient_accumulation_steps": 1,
            "training.max_steps": options.steps,
            "training.learning_rate": RATE,
            "training.lr_scheduler_type": "constant",
            "training.warmup_ratio": 0,
            "training.bf16": str(options.bf16).lower(),
            "training.sample_prompts": "[]",
            "launch.num_threads": options.threads,
            "launch.device": "cpu",
        }
        resolved = recipe.load("dpo", [f"{name}={value}" for name, value in overrides.items()])
        run = create_run(resolved, "bench")
        reporter = Reporter(run, enabled=True)
        reporter.begin()
        set_threads(resolved)
        trainer = set_up(run, resolved, reporter, StopRequest(run), make_accelerator(resolved))
        trainer.rows = trainer.objective.rows(store_of(options), 0, training=True)
        purpose = purpose_of(resolved)
        held_out = trainer.objective.rows(replace(store_of(options), side="eval"), 0, training=False)
        start = beginning_of(trainer, held_out, purpose, has_moved=False)
        trainer.objective.begin(replace(start, num_held_out=0, data_key="random tokens"))
        return timed_steps(trainer, run.metrics_path, options.steps, clock)


def trl_steps(options: argparse.Namespace, clock: Clock, *, precomputed: bool) -> list[float]:
    """TRL's trainer; the loss of each step."""
    import datasets

    warnings.filterwarnings("ignore")
    trl: Any = importlib.import_module("trl")
    torch.set_num_threads(options.threads)
    # What is given is tokens already.
    trl.DPOTrainer._prepare_dataset = lambda self, dataset, *args, **kwargs: dataset
    data = datasets.Dataset.from_dict(
        {f"{name}_ids": ids.tolist() for name, ids in tokens_of(options).items()}
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.DPOConfig(
            **trainer_settings(
                folder=folder, batch=options.pairs, steps=options.steps, rate=RATE, bf16=options.bf16
            ),
            max_length=options.prompt + options.answer,
            precompute_ref_log_probs=precomputed,
        )
        return train_with(trl.DPOTrainer, arguments, options.model, data, clock)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--answer", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        clock = Clock()
        if options.child == "workbench":
            tell(clock, workbench_steps(options, clock))
        else:
            tell(clock, trl_steps(options, clock, precomputed=options.child == "trl_precomputed"))
        return
    told = {
        "dtype": "bf16 autocast" if options.bf16 else "fp32",
        "pairs": options.pairs,
        "tokens": {"prompt": options.prompt, "answer": options.answer},
        "threads": options.threads,
    }
    print(json.dumps({**told, **taken_in_turns(WAYS, options.rounds)}, indent=1))


if __name__ == "__main__":
    main()
