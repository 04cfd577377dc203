"""One model trained in many layouts: how far each curve is from that of one process, what each reads of the
others.

`python tests/benchmarks/parallel_curves.py [--steps 50] [--layouts one,ddp,tensor] [--cross] [--hidden 128
…]`

Everything over gloo on this machine, in fp32, with the same rows in each step: prints JSON with the largest
differences of loss, held-out loss and gradient norm, and the time of a step. `--cross`: each layout writes a
checkpoint half-way, and all go on from each. What ranks take in memory is `planner_memory.py`'s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parent.parent
sys.path.insert(0, str(SUPPORT / "support"))

LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "one": (1, {}),
    "ddp": (2, {}),
    "fsdp": (2, {"dp_shard": 2}),
    "tensor": (2, {"tp": 2}),
    "pipeline": (2, {"pp": 2}),
    "interleaved": (2, {"pp": 2, "pp_schedule": "interleaved"}),
    "context": (2, {"cp": 2}),
    "ddp-4": (4, {}),
    "fsdp-4": (4, {"dp_shard": 4}),
    "hybrid": (4, {"dp_replicate": 2, "dp_shard": 2}),
    "tensor-4": (4, {"tp": 4}),
    "pipeline-4": (4, {"pp": 4}),
    "tensor-data": (4, {"tp": 2}),
    "tensor-fsdp": (4, {"tp": 2, "dp_shard": 2}),
    "pipeline-data": (4, {"pp": 2}),
    "pipeline-fsdp": (4, {"pp": 2, "dp_shard": 2}),
    "context-data": (4, {"cp": 2}),
    "tensor-pipeline": (4, {"tp": 2, "pp": 2}),
    "context-tensor": (4, {"cp": 2, "tp": 2}),
}
TEXTS = Path(asyncio.__file__).parent
"""Some real text that every Python has."""
CROSSED = ("one", "ddp", "fsdp", "tensor", "pipeline", "tensor-fsdp")
METRICS = ("loss", "eval_loss", "grad_norm")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--layouts", default=",".join(LAYOUTS))
    parser.add_argument("--cross", action="store_true")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rows", type=int, default=16, help="rows of a step")
    parser.add_argument("--vocabulary", type=int, default=1024)
    parser.add_argument("--bf16", action="store_true")
    return parser.parse_args()


def recipe_of(layout: str, given: argparse.Namespace) -> Any:
    """The same global batch in every layout."""
    from workbench.recipe import validate

    world_size, parallel = LAYOUTS[layout]
    data_size = world_size
    for axis in ("tp", "pp", "cp"):
        data_size //= parallel.get(axis, 1)
    return validate(
        {
            "model": {
                "vocab_size": given.vocabulary,
                "hidden_size": given.hidden,
                "num_hidden_layers": given.layers,
                "num_attention_heads": 8,
                "num_key_value_heads": 4,
                "max_position_embeddings": given.length,
            },
            "data": {"sources": sorted(map(str, TEXTS.glob("*.py"))), "eval_fraction": 0.1},
            "training": {
                "max_steps": given.steps,
                "per_device_train_batch_size": given.rows // data_size,
                "eval_steps": max(1, given.steps // 2),
                "save_steps": max(1, given.steps // 2),
                "save_total_limit": None,
                "max_eval_batches": 4,
                "warmup_steps": 5,
                "sample_prompts": ["def "],
                "sample_max_new_tokens": 8,
                "bf16": given.bf16,
            },
            "stability": {"guard": "off"},
            "launch": {"device": "cpu", "num_threads": 1, "num_processes": world_size},
            "parallel": parallel,
        },
        layout,
    )


def train(runs: list[tuple[Any, int]], folder: Path) -> None:
    """All runs, by one set of processes for each number of them."""
    for world_size in sorted({size for _, size in runs}):
        jobs = folder / "jobs.json"
        jobs.write_text(json.dumps([(str(run.path), size, None) for run, size in runs if size == world_size]))
        script = SUPPORT / "support" / "many_runs.py"
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(world_size)]
        command += [
            "--master_port",
            str(21000 + os.getpid() % 9000 + 100 * world_size),
            str(script),
            str(jobs),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (folder / "output.txt").open("ab") as output:
            done = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False)
        if done.returncode:
            raise SystemExit(f"runs in {world_size} processes failed: {folder / 'output.txt'} says why")


def differences(run: Any, reference: Any) -> dict[str, Any]:
    """The largest difference of each curve, absolute; null where the run did not get to its end."""
    from tiny_run import curve

    ours, theirs = curve(run, *METRICS), curve(reference, *METRICS)
    found: dict[str, Any] = {}
    for name in METRICS:
        pairs = list(zip(ours[name], theirs[name], strict=False))
        whole = len(ours[name]) == len(theirs[name]) and bool(pairs)
        found[name] = max(abs(one[1] - other[1]) for one, other in pairs) if whole else None
    return found


def main() -> None:
    given = options()
    folder = Path(tempfile.mkdtemp(prefix="parallel-"))
    os.environ["WORKBENCH_HOME"] = str(folder / "home")
    from workbench.recipe import dump
    from workbench.store.ranks import read_ranks
    from workbench.store.runs import Run, create_run

    names = ["one", *(name for name in given.layouts.split(",") if name != "one")]
    if unknown := set(names) - set(LAYOUTS):
        raise SystemExit(f"no such layouts: {', '.join(sorted(unknown))}; there are {', '.join(LAYOUTS)}")
    runs = {name: create_run(recipe_of(name, given), name) for name in names}
    train([(run, LAYOUTS[name][0]) for name, run in runs.items()], folder)
    result: dict[str, Any] = {"steps": given.steps, "model": vars(given), "layouts": {}}
    for name, run in runs.items():
        ranks = read_ranks(run.path)
        result["layouts"][name] = {
            "processes": LAYOUTS[name][0],
            "parallel": LAYOUTS[name][1],
            "state": run.status().state,
            "largest_difference": differences(run, runs["one"]),
            "step_seconds": [
                round(sum(rank.seconds[5:]) / max(1, len(rank.seconds[5:])), 4) for rank in ranks
            ],
        }
    if given.cross:
        crossed: dict[tuple[str, str], Any] = {}
        both = [name for name in CROSSED if name in runs]
        for first in both:
            for second in both:
                run = Run(runs[first].path.with_name(f"{first}-to-{second}"))
                shutil.copytree(runs[first].path, run.path)
                shutil.rmtree(run.final_path)
                shutil.rmtree(run.path / f"checkpoint-{given.steps}")
                recipe = recipe_of(second, given)
                recipe.run.name = run.name
                run.recipe_path.write_text(dump(recipe))
                status = run.status()
                status.state = "stopped"
                status.write(run.status_path)
                crossed[first, second] = run
        train([(run, LAYOUTS[second][0]) for (_, second), run in crossed.items()], folder)
        result["crossed"] = {
            f"{first} → {second}": differences(run, runs["one"])["loss"]
            for (first, second), run in crossed.items()
        }
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
