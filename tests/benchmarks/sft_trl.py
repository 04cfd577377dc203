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
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

IGNORE = -100
RATE = 2e-5
WAYS = ("workbench", "trl")


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


def rows_of(options: argparse.Namespace) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens and labels [steps × batch, length]; the labels are not shifted."""
    shape = (options.steps * options.batch, options.length)
    ids = np.random.default_rng(0).integers(3, 40_000, shape)
    labels = ids.copy()
    labels[:, : round(options.length * (1 - options.answers))] = IGNORE
    return ids, labels


def workbench_steps(options: argparse.Namespace, clock: Clock) -> Iterator[float]:
    """The workbench's loop, on rows that were made beforehand; yields each step's loss."""
    from workbench import paths, recipe
    from workbench.objectives import Batch
    from workbench.store.metrics import MetricsWriter
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


def trl_steps(options: argparse.Namespace, clock: Clock) -> Iterator[float]:
    """TRL's trainer; yields each step's loss when all is done."""
    import warnings

    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    warnings.filterwarnings("ignore")
    import importlib

    trl: Any = importlib.import_module("trl")
    torch.set_num_threads(options.threads)

    class Timed(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.end()

    ids, labels = rows_of(options)
    data = datasets.Dataset.from_dict({"input_ids": ids.tolist(), "labels": labels.tolist()})
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=options.batch,
            max_steps=options.steps,
            max_length=options.length,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            bf16=options.bf16,
            use_cpu=True,
            gradient_checkpointing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            train_sampling_strategy="sequential",
            dataloader_pin_memory=False,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = trl.SFTTrainer(
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
    steps = workbench_steps if options.child == "workbench" else trl_steps
    losses = [round(loss, 5) for loss in steps(options, clock)]
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
    parser.add_argument("--answers", type=float, default=1.0, help="what part of each row are targets")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(options.rounds):
        for way in WAYS if number % 2 else WAYS[::-1]:
            found[way].append(start(way))
    middle = {
        clock: {way: statistics.median(s for each in found[way] for s in each[clock]) for way in WAYS}
        for clock in ("cpu", "wall")
    }
    peaks = {way: statistics.median(each["peak"] for each in found[way]) for way in WAYS}
    tokens = options.batch * options.length
    print(
        json.dumps(
            {
                "dtype": "bf16 autocast" if options.bf16 else "fp32",
                "targets": options.answers,
                "threads": options.threads,
                "seconds": middle,
                "tokens_per_cpu_second": {way: round(tokens / s, 1) for way, s in middle["cpu"].items()},
                "speed_ratio": {k: round(v["trl"] / v["workbench"], 3) for k, v in middle.items()},
                "peak_mib": peaks,
                "peak_ratio": round(peaks["workbench"] / peaks["trl"], 3),
                "losses": {way: found[way][0]["losses"] for way in WAYS},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
