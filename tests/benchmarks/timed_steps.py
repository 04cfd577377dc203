"""Ways of training against each other: the time of their steps, a process for each, which take turns.

For `sft_trl.py` and `dpo_trl.py`, which say what a step is.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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

    def callback(self) -> Any:
        """For a trainer of transformers."""
        from transformers import TrainerCallback

        clock = self

        class Timed(TrainerCallback):  # type: ignore[misc, unused-ignore]
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                clock.begin()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                clock.end()

        return Timed()


def trainer_settings(*, folder: str, batch: int, steps: int, rate: float, bf16: bool) -> dict[str, Any]:
    """What TRL's configurations have in common here: a constant rate, rows in their order, nothing
    recomputed, nothing saved, on the CPU."""
    return {
        "output_dir": folder,
        "per_device_train_batch_size": batch,
        "max_steps": steps,
        "learning_rate": rate,
        "lr_scheduler_type": "constant",
        "bf16": bf16,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }


def train_with(trainer_kind: Any, arguments: Any, model: str, data: Any, clock: Clock) -> list[float]:
    """Train with one of TRL's trainers from fp32 weights; the loss of each step."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trainer = trainer_kind(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=arguments,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(model),
        callbacks=[clock.callback()],
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def timed_steps(trainer: Any, metrics_path: Path, steps: int, clock: Clock) -> list[float]:
    """Steps of the workbench's `Trainer`, logging apart; the loss of each."""
    from workbench.store.metrics import MetricsWriter

    trainer.wrapped.train()
    losses = []
    with MetricsWriter(metrics_path) as trainer.metrics:
        for _ in range(steps):
            clock.begin()
            trainer.train_step()
            clock.end()
            trainer.log()
            loss = trainer.reporter.status.loss
            assert loss is not None
            losses.append(loss)
    return losses


def tell(clock: Clock, losses: Iterable[float]) -> None:
    """Print what `taken_in_turns` reads of a process: seconds of all steps but the first, peak memory in MiB
    (VmHWM, of Linux), losses."""
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))
    told = {"wall": clock.wall[1:], "cpu": clock.cpu[1:], "peak": peak}
    print(json.dumps({**told, "losses": [round(loss, 6) for loss in losses]}))


def taken_in_turns(ways: Sequence[str], rounds: int) -> dict[str, Any]:
    """Run this script anew for each way and round, as `--child WAY`. The ways' medians over all steps of all
    rounds in seconds (`cpu`, `wall`), how many times as long as the first way's they are, peaks in MiB, and
    the first round's losses."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways if number % 2 == 0 else ways[::-1]:
            command = [sys.executable, *sys.argv, "--child", way]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    first, peers = ways[0], ways[1:]
    seconds = {
        clock: {way: statistics.median(s for each in found[way] for s in each[clock]) for way in ways}
        for clock in ("cpu", "wall")
    }
    peaks = {way: statistics.median(each["peak"] for each in found[way]) for way in ways}
    return {
        "seconds_a_step": seconds,
        "speed_ratio": {
            clock: {way: round(middle[way] / middle[first], 3) for way in peers}
            for clock, middle in seconds.items()
        },
        "peak_mib": peaks,
        "peak_ratio": {way: round(peaks[first] / peaks[way], 3) for way in peers},
        "losses": {way: found[way][0]["losses"] for way in ways},
    }
