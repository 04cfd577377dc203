"""A whole training step of prefix and prompt tuning, by PEFT alone and by the operators, on a real model.

    python tests/benchmarks/prefix_tuning.py MODEL_FOLDER [--shapes 20x256 2048x64] [--rounds 5] [--bf16]

A step is forward, loss over all own tokens, backward, AdamW. Both start from the same weights and see the
same batch; steps of the two alternate in one process, and the ratio is the median of the pairs' ratios, with
PEFT the faster of its eager and SDPA ways. Peak memory is of a process of its own for each (of Linux). Prints
JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

from workbench.models.shared_prefix.peft import use_shared_prefix
from workbench.ops.soft_prompt.embedding import soft_prompt_embedding

SHAPES = ["20x256", "128x256", "512x256", "2048x64"]
PEFT = ["eager", "sdpa"]
Step = Callable[[], float]


def build(options: argparse.Namespace, kind: str, shape: str, way: str) -> Step:
    """A step of `kind` (prefix or prompt) by `way`, that answers its loss."""
    prefix, own = (int(part) for part in shape.split("x"))
    rows = options.rows or (16 if own <= 64 else 4)
    torch.manual_seed(0)
    implementation = "sdpa" if way == "operator" else way
    model: Any = AutoModelForCausalLM.from_pretrained(
        options.model,
        dtype=torch.bfloat16 if options.bf16 else torch.float32,
        attn_implementation=implementation,
    )
    common: dict[str, Any] = {"task_type": "CAUSAL_LM", "num_virtual_tokens": prefix}
    adapter = PrefixTuningConfig(**common) if kind == "prefix" else PromptTuningConfig(**common)
    tuned: Any = get_peft_model(model, adapter)
    learned = tuned.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        learned.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(3, model.config.vocab_size, (rows, own), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    if kind == "prefix" and way == "operator":
        use_shared_prefix(tuned)
    optimizer = torch.optim.AdamW([learned], lr=1e-4)

    def loss() -> Any:
        if kind == "prompt" and way == "operator":
            table = model.get_input_embeddings().weight
            labels = torch.cat([ids.new_full((rows, prefix), -100), ids], 1)
            return model(inputs_embeds=soft_prompt_embedding(ids, table, learned), labels=labels).loss
        # What trains keeps no keys for later.
        return tuned(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss

    def step() -> float:
        result = loss()
        result.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(result)

    return step


def timed(step: Step) -> tuple[float, float]:
    """Seconds on the clock, and of all cores together, which a busy machine disturbs less."""
    start, start_cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - start, time.process_time() - start_cpu


def ratios(options: argparse.Namespace, kind: str, shape: str) -> dict[str, Any]:
    """Seconds of a step by each way, and how much longer PEFT's faster one takes."""
    ways = [*options.peft, "operator"]
    steps = {way: build(options, kind, shape, way) for way in ways}
    losses = {way: step() for way, step in steps.items()}
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, step in steps.items():
            taken[way].append(timed(step))
    seconds = {way: statistics.median(each[0] for each in taken[way]) for way in ways}
    best = min(options.peft, key=lambda way: seconds[way])
    pairs = list(zip(taken[best], taken["operator"], strict=True))
    return {
        "seconds": {way: round(each, 3) for way, each in seconds.items()},
        "peft": best,
        "ratio": round(statistics.median(peft[0] / mine[0] for peft, mine in pairs), 3),
        "cpu_ratio": round(statistics.median(peft[1] / mine[1] for peft, mine in pairs), 3),
        "losses": losses,
    }


def peak(options: argparse.Namespace, kind: str, shape: str, way: str) -> dict[str, int]:
    """Peak memory in MiB of a process that takes two steps, and that of the loaded model before them."""
    command = [sys.executable, __file__, options.model, "--peak", kind, shape, way]
    command += ["--rows", str(options.rows)] + (["--bf16"] if options.bf16 else [])
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, int] = json.loads(answer.splitlines()[-1])
    return found


def print_peak(options: argparse.Namespace) -> None:
    def high_water() -> int:
        # Not `ru_maxrss`: a new process inherits that of the one which started it.
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))

    step = build(options, *options.peak)
    loaded = high_water()
    step()
    step()
    print(json.dumps({"peak_mib": high_water(), "loaded_mib": loaded}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--shapes", nargs="*", default=SHAPES)
    parser.add_argument("--kinds", nargs="*", default=["prefix", "prompt"])
    parser.add_argument("--peft", nargs="*", default=PEFT, choices=PEFT, help="whose faster one counts")
    parser.add_argument("--rows", type=int, default=0, help="of a batch; 16 up to 64 own tokens, else 4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--no-peak", action="store_true")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(options)
        return
    for kind in options.kinds:
        # A prompt of thousands of tokens is a long text: its cost is its own, with or without an operator.
        for shape in options.shapes if kind == "prefix" else ["20x256"]:
            found = {"kind": kind, "shape": shape, **ratios(options, kind, shape)}
            if not options.no_peak:
                ways = (found["peft"], "operator")
                found["memory"] = {way: peak(options, kind, shape, way) for way in ways}
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
