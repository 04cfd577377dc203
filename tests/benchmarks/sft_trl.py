"""A training step of supervised fine-tuning: the workbench's own `Trainer` against TRL's `SFTTrainer`.

    PYTHONPATH=TRL python tests/benchmarks/sft_trl.py MODEL_FOLDER [--bf16] [--answers 0.5] [--rounds 3]

TRL is not a dependency: unpack version 1.16 and what it lacks into a folder and name it in PYTHONPATH. Both
train from the same weights on the same rows, all of one length, every token a target or the last part of each
row, with AdamW fused, no decay, gradients clipped at 1, a constant rate; neither recomputes activations, and
bf16 is autocast over fp32 weights. Each takes its steps in a process of its own; the processes take turns,
round by round. The ratio is of the medians of all steps but each process's first. CPU seconds (of all threads
of the process) are what a busy machine disturbs least, with one thread they are the step's time. Peak memory
is the process's, loading included (VmHWM, of Linux). Prints JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timed_steps import Clock, taken_in_turns, tell, timed_steps, train_with, trainer_settings

IGNORE = -100
RATE = 2e-5
WAYS = ("workbench", "trl")


def rows_of(options: argparse.Namespace) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens and labels [steps × batch, length]; the labels are not shifted."""
    shape = (options.steps * options.batch, options.length)
    ids = np.random.default_rng(0).integers(3, 40_000, shape)
    labels = ids.copy()
    labels[:, : round(options.length * (1 - options.answers))] = IGNORE
    return ids, labels


def workbench_steps(options: argparse.Namespace, clock: Clock) -> list[float]:
    """The workbench's loop, on rows that were made beforehand; the loss of each step."""
    from workbench import paths, recipe
    from workbench.objectives import Batch
    from workbench.store.runs import create_run
    from workbench.training.reporter import Reporter
    from workbench.training.session import make_accelerator, set_threads, set_up
    from workbench.training.stop import StopRequest

    ids, labels = rows_of(options)

    class Given:
        length = options.length

        def rows_per_epoch(self, epoch: int) -> int:
            return len(ids)

        def batch(self, start: int, count: int) -> Batch:
            here = ids[start : start + count]
            targets = np.full_like(here, IGNORE)
            targets[:, :-1] = labels[start : start + count, 1:]
            positions = np.broadcast_to(np.arange(here.shape[1]), here.shape).copy()
            arrays = {"input_ids": here, "position_ids": positions, "targets": targets}
            return Batch(arrays, (int((targets != IGNORE).sum()),), here.size)

        def report(self) -> dict[str, Any]:
            return {}

    with tempfile.TemporaryDirectory() as home:
        # The engine of native code stays where it is: it is compiled once on a machine.
        os.environ.setdefault(paths.HOME_VARIABLE, home)
        source = Path(home) / "records.jsonl"
        record = {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]}
        source.write_text("\n".join(json.dumps(record) for _ in range(40)))
        overrides = {
            "model.model_name_or_path": options.model,
            "data.sources": json.dumps([str(source)]),
            "data.max_length": options.length,
            "training.per_device_train_batch_size": options.batch,
            "training.gradient_accumulation_steps": 1,
            "training.max_steps": options.steps,
            "training.learning_rate": RATE,
            "training.lr_scheduler_type": "constant",
            "training.warmup_ratio": 0,
            "training.bf16": str(options.bf16).lower(),
            "training.sample_prompts": "[]",
            "launch.num_threads": options.threads,
            "launch.device": "cpu",
            "run.name": f"bench-{os.getpid()}",
        }
        resolved = recipe.load("sft", [f"{name}={value}" for name, value in overrides.items()])
        run = create_run(resolved, f"bench-{os.getpid()}")
        reporter = Reporter(run, enabled=True)
        reporter.begin()
        set_threads(resolved)
        trainer = set_up(run, resolved, reporter, StopRequest(run), make_accelerator(resolved))
        trainer.rows = Given()
        return timed_steps(trainer, run.metrics_path, options.steps, clock)


def trl_steps(options: argparse.Namespace, clock: Clock) -> list[float]:
    """TRL's trainer; the loss of each step."""
    import datasets

    warnings.filterwarnings("ignore")
    trl: Any = importlib.import_module("trl")
    torch.set_num_threads(options.threads)
    ids, labels = rows_of(options)
    data = datasets.Dataset.from_dict({"input_ids": ids.tolist(), "labels": labels.tolist()})
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.SFTConfig(
            **trainer_settings(
                folder=folder, batch=options.batch, steps=options.steps, rate=RATE, bf16=options.bf16
            ),
            max_length=options.length,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        return train_with(trl.SFTTrainer, arguments, options.model, data, clock)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--answers", type=float, default=1.0, help="what part of each row are targets")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        clock = Clock()
        steps = workbench_steps if options.child == "workbench" else trl_steps
        tell(clock, steps(options, clock))
        return
    found = taken_in_turns(WAYS, options.rounds)
    tokens = options.batch * options.length
    told = {
        "dtype": "bf16 autocast" if options.bf16 else "fp32",
        "targets": options.answers,
        "threads": options.threads,
        "tokens_per_cpu_second": {
            way: round(tokens / s, 1) for way, s in found["seconds_a_step"]["cpu"].items()
        },
    }
    print(json.dumps({**told, **found}, indent=1))


if __name__ == "__main__":
    main()
