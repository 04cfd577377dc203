"""Estimates against what really happens: weights, operations, peak memory and speed of training on a CPU.

    python tests/benchmarks/estimates.py [--threads 2] [--steps 6] [--only bert]

Each case trains a few steps on random tokens in a process of its own, with the objectives' own losses and
the workbench's AdamW and operators, and reads the largest resident size that it had (VmHWM, of Linux, which
is the process's own; what `getrusage` says may be that of who started it). Prints a table, then JSON.
`of GEMM` is the share of a large matrix product's speed, measured in the same process, that training reached.
With MALLOC_MMAP_THRESHOLD_=131072 in the environment the allocator keeps nothing back, and the peaks are
those of the estimates without their fragments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

WIDTH = ["model.hidden_size=256", "model.num_hidden_layers=6", "model.num_attention_heads=4"]
ROWS = "training.per_device_train_batch_size"
CASES: dict[str, list[str]] = {
    "llama": ["models/mini", "data.max_length=256", f"{ROWS}=8"],
    "llama, vocabulary 50,000": ["models/mini", "model.vocab_size=50000", "data.max_length=256", f"{ROWS}=4"],
    "llama, checkpointed": ["models/mini", f"{ROWS}=8", "training.gradient_checkpointing=true"],
    "llama, bf16": ["models/mini", "training.bf16=true", "data.max_length=256", f"{ROWS}=8"],
    "llama, 124 million": ["models/125m", "data.max_length=64", f"{ROWS}=1"],
    "bert": ["models/bert-nano", *WIDTH, f"{ROWS}=16"],
    "bert, long rows": ["models/bert-nano", *WIDTH, "model.max_position_embeddings=1024", f"{ROWS}=2"],
    "bert, classification": [
        "models/bert-nano",
        *WIDTH,
        "objective.name=classification",
        f"{ROWS}=16",
    ],
    "modernbert": ["models/modernbert-nano", *WIDTH, f"{ROWS}=16"],
    "xlnet": ["models/xlnet-nano", *WIDTH, f"{ROWS}=4"],
    "electra": ["models/electra-nano", *WIDTH, f"{ROWS}=16"],
    "t5": ["models/t5-nano", *WIDTH, f"{ROWS}=8"],
    "bart": ["models/bart-nano", *WIDTH, f"{ROWS}=8"],
}


def measure(arguments: list[str], steps: int, threads: int) -> dict[str, Any]:
    """Train in this process and say what it took, beside what was estimated."""
    from unittest.mock import patch

    import accelerate  # noqa: F401  the worker has it loaded
    import torch
    import transformers
    from estimate_cases import model_of
    from estimate_steps import loss_of
    from torch.utils.flop_counter import FlopCounterMode

    from workbench.models.estimate import Speed, estimate, load_for, on_this_machine
    from workbench.models.estimate.flops import flops
    from workbench.models.estimate.matrices import matrices
    from workbench.models.estimate.shape import shape_of
    from workbench.models.fast_products import use_fast_products
    from workbench.models.fused_layers import fuse_layers
    from workbench.recipe import load
    from workbench.training import loop, session  # noqa: F401  as above
    from workbench.training.optimizer import build_optimizer
    from workbench.training.telemetry import peak_flops

    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    recipe = load(arguments[0], arguments[1:])
    found = estimate(recipe).known
    assert found is not None
    at_start = resident("VmRSS")
    model = model_of(recipe, device="cpu")
    model.train()
    if recipe.training.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    fuse_layers(model)
    use_fast_products(model)
    optimizer = build_optimizer(model, recipe.training)
    half = recipe.training.bf16
    seconds = []
    for _ in range(steps):
        forward = loss_of(model, recipe, found.load)
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
            loss = forward()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    peak = resident("VmHWM")
    # Counted afterwards on a single row, attention and head as plain products, which the counter can see.
    counted = model_of(recipe, device="cpu", attn_implementation="eager")
    shape, _ = shape_of(recipe)
    assert shape is not None
    row = load_for(recipe, shape, 1, found.load.length)
    forward = loss_of(counted, recipe, row)
    with patch("workbench.objectives.clm.why_not", return_value="it is counted"):
        # The first asks the model once how its logits are made, with a forward pass of one token.
        forward()
        with FlopCounterMode(display=False) as counter:
            forward().backward()
    speed = found.load.counted / min(seconds[1:])
    rate = peak_flops(torch.device("cpu"), half)
    machine = Speed(rate, rate, threads)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "parameters_estimated": found.parameters.total,
        "flops": counter.get_total_flops() / row.counted,
        "flops_estimated": flops(shape, matrices(shape), row).training,
        "executed": found.flops.executed,
        "at_start": at_start,
        "peak": peak,
        "peak_estimated": found.memory.peak,
        "moment": found.memory.moment,
        "components": found.memory.components(),
        "tokens_per_second": speed,
        "tokens_per_second_estimated": on_this_machine(found, machine, 0).tokens_per_second,
        "machine_flops": rate,
        "efficiency": speed * found.flops.executed / rate,
    }


def resident(what: str) -> int:
    """Resident bytes of this process, now (`VmRSS`) or at most (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", default="")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(CASES[options.case], options.steps, options.threads)))
        return
    results = {}
    headers = ("weights", "FLOPs", "peak MB", "estimate", "error", "speed", "of GEMM")
    print(f"{'case':26} " + " ".join(f"{header:>8}" for header in headers))
    for name in CASES:
        if options.only not in name:
            continue
        command = [sys.executable, __file__, "--case", name, "--steps", str(options.steps)]
        done = subprocess.run(
            [*command, "--threads", str(options.threads)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
        row = results[name] = json.loads(done.stdout.splitlines()[-1])
        exact = "exact" if row["parameters"] == row["parameters_estimated"] else "WRONG"
        speed = row["tokens_per_second_estimated"] / row["tokens_per_second"] - 1
        print(
            f"{name:26} {exact:>8} {row['flops_estimated'] / row['flops'] - 1:+8.2%}"
            f" {row['peak'] / 1e6:8.0f} {row['peak_estimated'] / 1e6:8.0f}"
            f" {row['peak_estimated'] / row['peak'] - 1:+8.1%}"
            f" {speed:+8.0%} {row['efficiency']:8.2f}",
            flush=True,
        )
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
