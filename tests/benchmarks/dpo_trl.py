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
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

RATE = 1e-6
WAYS = ("workbench", "trl", "trl_precomputed")


@dataclass
class Clock:
    """Seconds of each step, on the wall and of this process's processors."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def begin(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def end(self) -> None:
        self.wall.append(time.perf_counter() - self._began[0])
        self.cpu.append(time.process_time() - self._began[1])


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


def workbench_steps(options: argparse.Namespace, clock: Clock) -> Iterator[float]:
    """The workbench's loop; yields each step's loss."""
    from workbench import paths, recipe
    from workbench.store.metrics import MetricsWriter
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
        trainer.wrapped.train()
        with MetricsWriter(run.metrics_path) as trainer.metrics:
            for _ in range(options.steps):
                clock.begin()
                trainer.train_step()
                clock.end()
                trainer.log()
                loss = trainer.reporter.status.loss
                assert loss is not None
                yield loss


def trl_steps(options: argparse.Namespace, clock: Clock, *, precomputed: bool) -> Iterator[float]:
    """TRL's trainer; yields each step's loss when all is done."""
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    warnings.filterwarnings("ignore")
    trl: Any = importlib.import_module("trl")
    torch.set_num_threads(options.threads)

    class Timed(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.end()

    # What is given is tokens already.
    trl.DPOTrainer._prepare_dataset = lambda self, dataset, *args, **kwargs: dataset
    data = datasets.Dataset.from_dict(
        {f"{name}_ids": ids.tolist() for name, ids in tokens_of(options).items()}
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.DPOConfig(
            output_dir=folder,
            per_device_train_batch_size=options.pairs,
            max_steps=options.steps,
            max_length=options.prompt + options.answer,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            bf16=options.bf16,
            use_cpu=True,
            gradient_checkpointing=False,
            precompute_ref_log_probs=precomputed,
            train_sampling_strategy="sequential",
            dataloader_pin_memory=False,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = trl.DPOTrainer(
            AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32),
            args=arguments,
            train_dataset=data,
            processing_class=AutoTokenizer.from_pretrained(options.model),
            callbacks=[Timed()],
        )
        trainer.train()
    yield from (entry["loss"] for entry in trainer.state.log_history if "loss" in entry)


def child(options: argparse.Namespace) -> None:
    """One process of one way: its steps, and its peak."""
    clock = Clock()
    if options.child == "workbench":
        steps = workbench_steps(options, clock)
    else:
        steps = trl_steps(options, clock, precomputed=options.child == "trl_precomputed")
    losses = [round(loss, 6) for loss in steps]
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))
    print(json.dumps({"wall": clock.wall[1:], "cpu": clock.cpu[1:], "peak": peak, "losses": losses}))


def start(way: str) -> dict[str, Any]:
    """The answer of a process of one way."""
    command = [sys.executable, __file__, *sys.argv[1:], "--child", way]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


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
        child(options)
        return
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(options.rounds):
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            found[way].append(start(way))
    middle = {
        clock: {way: statistics.median(s for each in found[way] for s in each[clock]) for way in WAYS}
        for clock in ("cpu", "wall")
    }
    peaks = {way: statistics.median(each["peak"] for each in found[way]) for way in WAYS}
    peers = WAYS[1:]
    print(
        json.dumps(
            {
                "dtype": "bf16 autocast" if options.bf16 else "fp32",
                "pairs": options.pairs,
                "tokens": {"prompt": options.prompt, "answer": options.answer},
                "threads": options.threads,
                "seconds_a_step": middle,
                "speed_ratio": {
                    clock: {way: round(v[way] / v["workbench"], 3) for way in peers}
                    for clock, v in middle.items()
                },
                "peak_mib": peaks,
                "peak_ratio": {way: round(peaks["workbench"] / peaks[way], 3) for way in peers},
                "losses": {way: found[way][0]["losses"] for way in WAYS},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
