"""A whole training step of prefix and prompt tuning, by PEFT alone and by the operators, on a real model.

    python tests/benchmarks/prefix_tuning.py MODEL_FOLDER [--shapes 20x256 2048x64] [--rounds 5] [--bf16]

A step is forward, loss over all own tokens, backward, AdamW. All start from the same weights and see the same
batch; their steps alternate in one process, and a ratio is the median of the pairs' ratios, with PEFT the
faster of its eager and SDPA ways. "attention" is PEFT's model with our attention or embedding alone;
"workbench" is what a run does: the loss is made from the head without all the logits, too. Peak memory is of
a process of its own for each (of Linux). Prints JSON.
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
from workbench.objectives.fused_head import logprobs_for_logits
from workbench.ops.soft_prompt.embedding import soft_prompt_embedding

SHAPES = ["20x256", "128x256", "512x256", "2048x64"]
PEFT = ["eager", "sdpa"]
OURS = ["attention", "workbench"]
Step = Callable[[], float]


def build(options: argparse.Namespace, kind: str, shape: str, way: str) -> Step:
    """A step of `kind` (prefix or prompt) by `way`, that answers its loss."""
    prefix, own = (int(part) for part in shape.split("x"))
    rows = options.rows or (16 if own <= 64 else 4)
    torch.manual_seed(0)
    implementation = way if way in PEFT else "sdpa"
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
    if kind == "prefix" and way in OURS:
        use_shared_prefix(tuned)
    optimizer = torch.optim.AdamW([learned], lr=1e-4)

    # What trains keeps no keys for later.
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    if kind == "prompt" and way in OURS:
        table = model.get_input_embeddings().weight
        tuned = model
        given = {"use_cache": False}

    def loss() -> Any:
        if kind == "prompt" and way in OURS:
            given["inputs_embeds"] = soft_prompt_embedding(ids, table, learned)
        if way != "workbench":
            # Of a prompt, too, the first own token is no target, as of a prefix.
            front = 1 if "input_ids" in given else prefix + 1
            labels = torch.cat([ids.new_full((rows, front), -100), ids[:, 1:]], 1)
            return tuned(**given, labels=labels).loss
        targets = torch.cat([ids[:, 1:], ids.new_full((rows, 1), -100)], 1)
        with logprobs_for_logits(model.get_output_embeddings(), targets):
            return -tuned(**given).logits.sum() / (rows * (own - 1))

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
    ways = [*options.peft, *OURS]
    steps = {way: build(options, kind, shape, way) for way in ways}
    losses = {way: step() for way, step in steps.items()}
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, step in steps.items():
            taken[way].append(timed(step))
    seconds = {way: statistics.median(each[0] for each in taken[way]) for way in ways}
    best = min(options.peft, key=lambda way: seconds[way])
    return {
        "seconds": {way: round(each, 3) for way, each in seconds.items()},
        "peft": best,
        "ratio": {way: ratio(taken[best], taken[way], 0) for way in OURS},
        "cpu_ratio": {way: ratio(taken[best], taken[way], 1) for way in OURS},
        "losses": losses,
    }


def ratio(theirs: list[tuple[float, float]], mine: list[tuple[float, float]], clock: int) -> float:
    """How many times longer theirs took, by one of the two clocks: the median of the pairs."""
    pairs = zip(theirs, mine, strict=True)
    return round(statistics.median(their[clock] / own[clock] for their, own in pairs), 3)


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
                ways = (found["peft"], *OURS)
                found["memory"] = {way: peak(options, kind, shape, way) for way in ways}
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
