"""The training loop against a bare torch loop on the same model, batches and optimiser.

Speed: both take turns, a step each, in one process; the ratio is of the medians. Ours includes the line
of metrics and the status that every step writes. Memory: peak resident size of a process each.

    python tests/benchmarks/training_loop.py [--steps 60] [--preset nano]
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator

from workbench import paths, recipe
from workbench.store.metrics import MetricsWriter
from workbench.store.runs import create_run
from workbench.training.loop import Trainer
from workbench.training.optimizer import build_optimizer
from workbench.training.reporter import Reporter
from workbench.training.schedule import learning_rate
from workbench.training.session import set_up
from workbench.training.stop import StopRequest

OVERRIDES = ["training.eval_steps=100000", "training.save_steps=100000", "training.sample_prompts=[]"]


def trainer(preset: str, steps: int, overrides: list[str]) -> Trainer:
    resolved = recipe.load(preset, [*OVERRIDES, f"training.max_steps={steps}", *overrides])
    run = create_run(resolved, "bench")
    reporter = Reporter(run, enabled=True)
    reporter.begin()
    made = set_up(run, resolved, reporter, StopRequest(run), Accelerator(cpu=True))
    made.metrics = MetricsWriter(run.metrics_path)
    return made


class BareLoop:
    """What a person would write in a notebook: no framework, the loss read every step."""

    def __init__(self, like: Trainer) -> None:
        self.like = like
        self.model = type(like.model)(like.model.config)
        self.model.load_state_dict(like.model.state_dict())
        self.model.train()
        self.optimizer = build_optimizer(self.model, like.recipe.training)
        self.rows = 0
        self.steps = 0
        self.loss = 0.0

    def step(self) -> None:
        size = self.like.micro_rows
        batch = self.like.rows.batch(self.rows, size)
        self.rows += size
        ids, positions, targets = (
            torch.from_numpy(batch.arrays[name]) for name in ("input_ids", "position_ids", "targets")
        )
        logits = self.model(input_ids=ids, position_ids=positions, use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.like.recipe.training, self.steps, self.like.max_steps)
        self.steps += 1
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.loss = loss.item()


def our_step(made: Trainer) -> None:
    made.train_step()
    made.log()


def timed(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def speed(preset: str, steps: int, overrides: list[str]) -> dict[str, Any]:
    ours = trainer(preset, 2 * steps + 10, overrides)
    bare = BareLoop(ours)
    for _ in range(5):
        our_step(ours)
        bare.step()
    steps_of: dict[str, Callable[[], None]] = {"ours": lambda: our_step(ours), "bare": bare.step}
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(steps):
        # Who goes first changes, so that neither always finds the caches as the other left them.
        for name in ("ours", "bare") if number % 2 else ("bare", "ours"):
            times[name].append(timed(steps_of[name]))
    medians = {name: statistics.median(values) for name, values in times.items()}
    tokens = ours.micro_rows * ours.rows.length
    return {
        "ours_tokens_per_second": round(tokens / medians["ours"]),
        "bare_tokens_per_second": round(tokens / medians["bare"]),
        "ratio": round(medians["bare"] / medians["ours"], 4),
        "ratio_of_fastest_quarter": round(quarter(times["bare"]) / quarter(times["ours"]), 4),
        "last_losses": [ours.reporter.status.loss, bare.loss],
    }


def quarter(values: list[float]) -> float:
    return statistics.mean(sorted(values)[: max(1, len(values) // 4)])


def peak(kind: str, preset: str, overrides: list[str]) -> float:
    """MiB at the peak of a process that takes eight steps of one kind only."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import training_loop as bench, gc
made = bench.trainer({preset!r}, 20, {overrides!r})
if {kind!r} == "bare":
    bare = bench.BareLoop(made)
    made.model = made.wrapped = made.raw_optimizer = made.optimizer = None
    gc.collect()
open("/proc/self/clear_refs", "w").write("5")
for _ in range(8):
    bench.our_step(made) if {kind!r} == "ours" else bare.step()
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return int(output.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ[paths.HOME_VARIABLE] = home
        result = speed(options.preset, options.steps, options.overrides)
        peaks = {kind: peak(kind, options.preset, options.overrides) for kind in ("ours", "bare")}
    result["peak_mib"] = {kind: round(value) for kind, value in peaks.items()}
    result["peak_ratio"] = round(peaks["ours"] / peaks["bare"], 4)
    print(json.dumps({"preset": options.preset, **result}, indent=1))


if __name__ == "__main__":
    main()
