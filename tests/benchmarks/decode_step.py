"""A decode step and the reading of a prompt: native, the definition in PyTorch, transformers' forward.

    python tests/benchmarks/decode_step.py MODEL [--dtype bfloat16] [--threads 2] [--context 512]
        [--rounds 20]

MODEL is a transformers folder of a Llama, Qwen2 or Qwen3. The contestants take turns, step by step, in this
process: the native step on pages of 4 KiB and on huge pages, `decode_reference`, and the model's forward
with a DynamicCache. One row, then 16 rows that share their context (transformers keeps it 16 times). Prints
JSON: medians of wall and own processor time of a step in milliseconds, tokens a second, and how many times
slower than the native step on huge pages each is; before them the machine's limits. On a busy machine
believe the processor time of one thread.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

import decoders

from workbench.inference.engine.dense_cache import cache_name
from workbench.models.fused_weights import fuse
from workbench.ops.decode import DecoderWeights, Row, choose, decode_reference, decode_step, prefill
from workbench.ops.huge_pages import HugePages

MATRICES = ("qkv", "output", "gate_up", "down")
Step = Callable[[], Any]


def turns(contestants: dict[str, Step], rounds: int, tokens: int) -> dict[str, dict[str, float]]:
    """Every contestant once a round; the first two rounds warm up."""
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    own: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 2):
        for name, step in contestants.items():
            time.sleep(0.02)  # the threads of the one before spin for some milliseconds more
            start, busy = time.perf_counter(), time.process_time()
            step()
            if turn >= 2:
                wall[name].append(time.perf_counter() - start)
                own[name].append(time.process_time() - busy)
    best = {
        kind: statistics.median(times["native, huge pages"]) for kind, times in (("wall", wall), ("own", own))
    }
    return {
        name: {
            "wall_ms": round(statistics.median(wall[name]) * 1e3, 2),
            "processor_ms": round(statistics.median(own[name]) * 1e3, 2),
            "tokens_per_second": round(tokens / statistics.median(wall[name]), 1),
            "best_tokens_per_second": round(tokens / min(wall[name]), 1),
            "slower_wall": round(statistics.median(wall[name]) / best["wall"], 2),
            "slower_processor": round(statistics.median(own[name]) / best["own"], 2),
        }
        for name in contestants
    }


class Rows:
    """Rows that share a context, and the step of one contestant over them."""

    def __init__(
        self, weights: DecoderWeights, step: Callable[..., Tensor], ids: Tensor, batch: int, room: int
    ) -> None:
        shared = decoders.segment(weights, len(ids))
        prefill(weights, ids, Row([shared]), logits="none")
        shared.length = len(ids)
        self.rows = [Row([shared, decoders.segment(weights, room)]) for _ in range(batch)]
        self.tokens = torch.arange(batch) + 5
        self.weights, self.step = weights, step

    def __call__(self) -> None:
        self.step(self.weights, self.tokens, self.rows)
        decoders.advance(self.rows)


class Forward:
    """transformers' forward over a cache of its own."""

    def __init__(self, model: Any, ids: Tensor, batch: int) -> None:
        self.model, self.tokens = model, torch.arange(batch)[:, None] + 5
        self.cache = DynamicCache(config=model.config)
        self.cached = {cache_name(model): self.cache, "use_cache": True}
        model(ids[None], logits_to_keep=1, **self.cached)
        self.cache.batch_repeat_interleave(batch)

    def __call__(self) -> None:
        self.model(self.tokens, **self.cached)


def limits(weights: DecoderWeights, rounds: int) -> dict[str, float]:
    """What this machine can do at best: reading memory in huge pages, and a large product of matrices; and
    the least milliseconds that a step of 1 and of 16 rows could take by them, its attention left out."""
    memory = HugePages(256 << 20).copy(torch.ones(32 << 20, dtype=torch.int64))
    one, other = (torch.randn(2048, 2048).to(weights.dtype) for _ in range(2))
    tensors = [weights.head, *(getattr(layer, name) for layer in weights.layers for name in MATRICES)]
    numbers, size = sum(tensor.numel() for tensor in tensors), weights.dtype.itemsize

    def least(work: Callable[[], Any]) -> float:
        seconds = []
        for _ in range(rounds + 2):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    bandwidth = memory.nbytes / least(memory.sum)
    rate = 2 * 2048**3 / least(lambda: one @ other)
    reading = numbers * size / bandwidth
    return {
        "gigabytes_per_second": round(bandwidth / 1e9, 1),
        "gigaflops": round(rate / 1e9),
        "one_row_ms": round(reading * 1e3, 2),
        "16_rows_ms": round(max(reading, 2 * 16 * numbers / rate) * 1e3, 2),
    }


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype)).eval()
    small, huge = decoders.weights_of(model), fuse(copy.deepcopy(model), options.context + options.rounds + 2)
    choice = choose(huge)
    if not choice.native:
        raise SystemExit(f"no native step here: {choice.reason}")
    ids = torch.randint(100, small.head.shape[0] - 100, (options.context,))
    told: dict[str, Any] = {"native": choice.reason, "dtype": options.dtype, "threads": options.threads}
    told["context"] = options.context
    told["limits"] = limits(huge, options.rounds)
    for batch in (1, 16):
        contestants: dict[str, Step] = {
            "native, huge pages": Rows(huge, decode_step, ids, batch, options.rounds + 2),
            "native": Rows(small, decode_step, ids, batch, options.rounds + 2),
            "reference": Rows(small, decode_reference, ids, batch, options.rounds + 2),
            "transformers": Forward(model, ids, batch),
        }
        told[f"decode, {batch} rows"] = turns(contestants, options.rounds, batch)
    row = Row([decoders.segment(huge, options.context)])
    readers: dict[str, Step] = {
        "native, huge pages": lambda: prefill(huge, ids, row),
        "transformers": lambda: model(ids[None], use_cache=True, logits_to_keep=1),
    }
    told["prefill"] = turns(readers, max(3, options.rounds // 4), options.context)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
