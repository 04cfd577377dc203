"""The planner's memory beside what real workers took: the most resident memory of each rank, over gloo.

    python tests/benchmarks/planner_memory.py [--layouts dp_replicate=2 dp_shard=2 …] [--steps 3]

Each layout is a run of its own (`workbench train`), of a decoder of 22 million weights on Python's own
library; its ranks say what they took at most (`ranks/`). Prints JSON: predicted and measured bytes, and the
error. A quarter of an hour on two busy cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.recipe import load
from workbench.scaling.layouts import Layout, cluster, plan, setting_of
from workbench.scaling.layouts.model import model_of
from workbench.scaling.layouts.subject import Subject
from workbench.store.ranks import read_ranks

LAYOUTS = ("dp_replicate=2", "dp_shard=2", "dp_shard=4", "pp=2", "tp=2", "dp_shard=2,tp=2")
SHAPE = (
    *("model.hidden_size=512", "model.num_hidden_layers=6", "model.num_attention_heads=8"),
    *("model.intermediate_size=1408", "model.vocab_size=8192", "model.max_position_embeddings=512"),
    *("data.sources=[{path: 'stdlib:', limit: 300}]", "data.max_length=512", "training.eval_steps=1000"),
    *("training.per_device_train_batch_size=8", "training.sample_prompts=[]", "launch.device=cpu"),
    *("training.max_eval_batches=1", "launch.num_threads=1"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layouts", nargs="*", default=LAYOUTS)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--home", help="keep the runs here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(args.home or folder)
        train(home, "warm", ["training.max_steps=1"])
        found = [compare(home, layout, args.steps) for layout in args.layouts]
    print(json.dumps(found, indent=1))


def train(home: Path, name: str, overrides: list[str]) -> Path:
    """Run to the end in a home of its own; the run's folder."""
    environment = {**os.environ, "WORKBENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "workbench", "train", "nano", *SHAPE, *overrides, f"run.name={name}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return home / "runs" / name


def compare(home: Path, layout: str, steps: int) -> dict[str, Any]:
    """One layout, predicted and measured."""
    degrees = {name: int(size) for name, size in (part.split("=") for part in layout.split(","))}
    processes = 1
    for size in degrees.values():
        processes *= size
    overrides = [f"parallel.{name}={size}" for name, size in degrees.items()]
    overrides += [f"launch.num_processes={processes}", f"training.max_steps={steps}"]
    folder = train(home, layout.replace("=", "-").replace(",", "-"), overrides)
    measured = [rank.peak_memory or 0 for rank in read_ranks(folder)]
    recipe = load("nano", [*SHAPE, *overrides])
    rows = recipe.training.per_device_train_batch_size
    planned = replace(
        Layout.of_axes(degrees),
        rows=rows // recipe.parallel.microbatches(rows) if "pp" in degrees else rows,
        microbatches=recipe.parallel.microbatches(rows) if "pp" in degrees else 1,
        reshard="pp" not in degrees,
    )
    batch = rows * planned.dp
    setting = setting_of(
        Subject(model_of(recipe, "nano"), recipe), cluster("cpu", processes), global_batch=batch
    )
    predicted = plan(setting, planned).memory
    return {
        "layout": layout,
        "processes": processes,
        "predicted": round(predicted.peak),
        "measured": measured,
        "error": predicted.peak / max(measured) - 1,
        "components": {name: round(size) for name, size in predicted.components().items()},
    }


if __name__ == "__main__":
    main()
