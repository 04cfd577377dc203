"""Faults put into runs on purpose, and ordinary runs: is the guard in time, and is it silent?

Each fault is put into a run of a preset at one step: broken rows, a loss that is no number, a learning rate
that is a hundred times too high for five steps, weights of a layer that grow eightfold. Told are the steps
until the alarm, the rollbacks, and the held-out loss at the end beside that of the same run without a fault,
and of one with the fault and no guard. Then ordinary runs, of several objectives, seeds, rates, batch sizes
and precisions: how many alarms?

    python tests/benchmarks/stability_faults.py FILE|stdlib: [--steps 400] [--ordinary 20] [--seeds 0 1 2]

Prints JSON. `--home DIR` keeps the runs, to look at them with `workbench --home DIR`. The faults take a
minute for each 400 steps of `nano` on one quiet core, seven runs a seed and fault; the ordinary runs half an
hour.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

FAULTS = ("rows", "nan", "rate", "weights")
BROKEN_STEPS, BURST_STEPS, BURST, GROWTH = 4, 5, 100.0, 8.0


def put_in(fault: str, step: int) -> None:
    """Change the worker of this process so that the fault comes at a step, counted from 1; once."""
    from workbench.objectives.clm import CausalLanguageModeling, CausalRows
    from workbench.training import loop
    from workbench.training.schedule import learning_rate

    rows_of_step = 8
    first = (step - 1) * rows_of_step
    rows = range(first, first + rows_of_step * (BROKEN_STEPS if fault == "rows" else 1))
    whole_batch, whole_loss, whole_rate = CausalRows.batch, CausalLanguageModeling.loss, learning_rate
    whole_step = loop.Trainer.train_step
    left = {"rate": BURST_STEPS, "weights": 1}

    def batch(self: Any, start: int, count: int) -> Any:
        made = whole_batch(self, start, count)
        made.extra["start"] = start if self.packed.store.side == "train" else -1
        if fault == "rows" and made.extra["start"] in rows:
            dice = np.random.default_rng(start)
            for name in ("input_ids", "targets"):
                array = made.arrays[name]
                array[array >= 0] = dice.integers(0, array.max() + 1, int((array >= 0).sum()))
        return made

    def loss(self: Any, model: Any, tensors: Any, batch: Any) -> Any:
        found = whole_loss(self, model, tensors, batch)
        if fault == "nan" and batch.extra["start"] in rows:
            found.sums = found.sums * float("nan")
        return found

    def rate(section: Any, number: int, max_steps: int) -> float:
        value = whole_rate(section, number, max_steps)
        if fault == "rate" and number + 1 >= step and left["rate"]:
            left["rate"] -= 1
            return value * BURST
        return value

    def train_step(self: Any) -> bool:
        if self.guard.ledger.rollbacks:
            # A passing fault: the second time over these steps there is none.
            left["rate"] = 0
        if fault == "weights" and self.state.step + 1 == step and left["weights"]:
            left["weights"] -= 1
            layers = self.model.model.layers
            for weight in layers[len(layers) // 2].parameters():
                weight.data.mul_(GROWTH)
        return whole_step(self)

    CausalRows.batch = batch  # type: ignore[method-assign]
    CausalLanguageModeling.loss = loss  # type: ignore[method-assign]
    vars(loop)["learning_rate"] = rate
    loop.Trainer.train_step = train_step  # type: ignore[method-assign]


def child(folder: str, fault: str, step: int) -> int:
    """Train the run in a folder in this process, with a fault or without."""
    if fault != "none":
        put_in(fault, step)
    from workbench.training.worker import main

    return main(Path(folder))


def train(preset: str, settings: list[str], fault: str = "none", step: int = 0) -> dict[str, Any]:
    """Make a run and train it in a process of its own; what came of it."""
    from workbench import recipe
    from workbench.store.events import read_events
    from workbench.store.metrics import read_metrics
    from workbench.store.runs import create_run

    run = create_run(recipe.load(preset, settings), preset)
    command = [sys.executable, __file__, "--child", str(run.path), "--fault", fault, "--at", str(step)]
    with run.log_path.open("wb") as log:
        subprocess.run(command, stdout=log, stderr=log, check=False)
    status, events = run.status(), read_events(run.events_path)
    alarms = [event for event in events if event.is_alarm]
    return {
        "run": run.name,
        "state": status.state,
        "steps": status.step,
        "eval_loss": read_metrics(run.metrics_path).last("eval_loss"),
        "alarms": [(event.step, event.kind, event.action, event.to_step) for event in alarms],
        "notes": len(events) - len(alarms),
        "rows_left_out": sum(event.rows["end"] - event.rows["first"] for event in alarms if event.rows),
        "message": status.message,
    }


def faults(
    text: str, steps: int, seeds: list[int], only: list[str], changes: list[str]
) -> list[dict[str, Any]]:
    """Every fault in runs of every seed, beside the clean run and the unguarded one."""
    found = []
    at = steps // 2 + 7
    for seed in seeds:
        settings = [
            f"data.sources=[{text}]",
            f"training.max_steps={steps}",
            f"training.seed={seed}",
            f"training.save_steps={max(10, steps // 10)}",
            f"training.eval_steps={steps // 2}",
            "training.sample_prompts=[]",
            "training.load_best_model_at_end=false",
            "launch.num_threads=1",
            "launch.device=cpu",
            *changes,
        ]
        clean = train("nano", settings)
        say({"seed": seed, "fault": "none", **clean})
        for fault in only:
            guarded = train("nano", settings, fault, at)
            bare = train("nano", [*settings, "stability.guard=off"], fault, at)
            loss = guarded["eval_loss"]
            first = guarded["alarms"][0] if guarded["alarms"] else None
            result = {
                "seed": seed,
                "fault": fault,
                "at": at,
                # A step later than the fault itself is a delay of one.
                "delay": None if first is None else first[0] - at,
                "rollbacks": sum(alarm[2] == "rolled_back" for alarm in guarded["alarms"]),
                "finished": guarded["state"] == "finished",
                "of_clean": loss / clean["eval_loss"] - 1 if loss and clean["eval_loss"] else None,
                "unguarded": {"state": bare["state"], "eval_loss": bare["eval_loss"]},
                "guarded": guarded,
            }
            found.append(result)
            say(result)
    return found


def labelled(text: Path, folder: Path) -> Path:
    """Lines of a text as records of a classification: whether a question mark was taken off their end. One in
    forty labels is wrong, as in data that people made."""
    lines = [line.strip() for line in text.read_text(errors="replace").splitlines()]
    lines = [line for line in dict.fromkeys(lines) if len(line) > 20][:6000]
    path = folder / "lines.jsonl"
    with path.open("w") as file:
        for number, line in enumerate(lines):
            label = line.endswith("?") != (number % 40 == 0)
            file.write(json.dumps({"text": line.rstrip("?.!,;:"), "label": "yes" if label else "no"}) + "\n")
    return path


def ordinary(text: str, steps: int, count: int, folder: Path, changes: list[str]) -> list[dict[str, Any]]:
    """Runs in which nothing is wrong."""
    common = [f"training.max_steps={steps}", "launch.num_threads=1", "launch.device=cpu"]
    common += ["training.sample_prompts=[]"]
    source = [f"data.sources=[{text}]"]
    kinds: list[tuple[str, list[str]]] = [
        *(("nano", [*source, f"training.seed={seed}"]) for seed in range(3)),
        ("nano", [*source, "training.learning_rate=1e-2"]),
        ("nano", [*source, "training.learning_rate=3e-4", "training.warmup_steps=0"]),
        ("nano", [*source, "training.per_device_train_batch_size=1", "data.max_length=64"]),
        ("nano", [*source, "training.per_device_train_batch_size=2", "training.learning_rate=6e-3"]),
        ("nano", [*source, "training.bf16=true", "training.lr_scheduler_type=wsd"]),
        ("nano", [*source, "training.fp16=true", "training.seed=5"]),
        ("nano", [*source, "data.packing=false", "training.per_device_train_batch_size=4"]),
        ("nano", [*source, "training.gradient_accumulation_steps=3", "training.lr_scheduler_type=constant"]),
        ("nano", [*source, "training.max_grad_norm=0", "stability.z_loss=1e-4"]),
        ("bert-nano", source),
        ("bert-nano", [*source, "training.seed=7", "training.learning_rate=2e-3"]),
        ("t5-nano", source),
        ("xlnet-nano", source),
        ("electra-nano", source),
    ]
    if not text.startswith("stdlib:"):
        # In small batches, over and over the same records: the loss falls to noise with tails.
        records = [
            f"data.sources=[{labelled(Path(text), folder)}]",
            "data.max_length=64",
            "training.logging_steps=1",
            f"model.model_name_or_path={encoder_of(text)}",
        ]
        kinds += [
            ("classify", [*records, "training.per_device_train_batch_size=8"]),
            ("classify", [*records, "training.per_device_train_batch_size=4", "training.seed=3"]),
            ("classify", [*records, "training.learning_rate=1e-3"]),
        ]
    found = []
    for preset, settings in kinds[:count]:
        result = {"preset": preset, "settings": settings[1:], **train(preset, [*common, *changes, *settings])}
        found.append(result)
        say(result)
    return found


def encoder_of(text: str) -> Path:
    """An encoder that has learned next to nothing yet, with a tokenizer of the text."""
    from workbench.store.runs import find_run

    settings = [f"data.sources=[{text}]", "training.max_steps=20", "launch.device=cpu"]
    settings += ["data.max_length=64", "training.per_device_train_batch_size=16"]
    done = train("bert-nano", settings)
    return find_run(done["run"]).final_path


def say(result: dict[str, Any]) -> None:
    print(json.dumps(result), file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", nargs="?", default="stdlib:")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=FAULTS)
    parser.add_argument("--ordinary", type=int, default=20)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of all runs")
    parser.add_argument("--home")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--fault", default="none", help=argparse.SUPPRESS)
    parser.add_argument("--at", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        raise SystemExit(child(args.child, args.fault, args.at))
    home = Path(args.home or tempfile.mkdtemp(prefix="stability-")).absolute()
    home.mkdir(parents=True, exist_ok=True)
    os.environ["WORKBENCH_HOME"] = str(home)
    text = args.text if args.text.startswith("stdlib:") else str(Path(args.text).absolute())
    wrong = faults(text, args.steps, args.seeds, args.faults, args.set) if args.faults else []
    right = ordinary(text, args.steps, args.ordinary, home, args.set) if args.ordinary else []
    alarms = [result for result in right if result["alarms"]]
    print(
        json.dumps(
            {
                "faults": wrong,
                "ordinary": right,
                "worst_delay": max((one["delay"] for one in wrong if one["delay"] is not None), default=None),
                "missed": [one["fault"] for one in wrong if one["delay"] is None],
                "worst_of_clean": max((one["of_clean"] for one in wrong if one["of_clean"]), default=None),
                "ordinary_runs": len(right),
                "ordinary_with_an_alarm": len(alarms),
                "ordinary_failed": [one["run"] for one in right if one["state"] != "finished"],
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
