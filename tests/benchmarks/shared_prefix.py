"""Shared-prefix attention as an operator: every path, PEFT's way and the best concatenation, side by side.

    python tests/benchmarks/shared_prefix.py [--threads 1] [--rounds 7] [--dtype float32 bfloat16]
        [--prefix 20 64 128 512 2048] [--queries 1 64 256] [--batch 16]

9 query heads on 3 of 64. One query is a decode step behind an own cache of 64 positions, forward only; more
are a training step, forward and backward. The contestants take turns in this process, and the ratios are of
their medians:

    peft          the prefix repeated over the batch, concatenated with the own keys, keys and values repeated
                  over the heads, and SDPA with an additive mask, as transformers' attention does it
    gqa           the same without repeating: expanded, SDPA's own grouping of heads, one boolean mask for all
    operator      `shared_prefix_attention`, which chooses a path (named in "chosen")
    native, …     the operator made to take each path

Prints JSON: milliseconds, peak of allocated memory in MiB (counted by PyTorch's profiler, outputs included;
what the native code allocates for itself is not PyTorch's and is not in it), how many times longer each takes
than the operator, and the least of those of other paths: below 0.97 the choice of path was wrong.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile

from workbench.ops.shared_prefix.attention import shared_prefix_attention
from workbench.ops.shared_prefix.definition import Inputs
from workbench.ops.shared_prefix.paths import Name, choose

HEADS, KV_HEADS, SIZE, CACHED = 9, 3, 64, 64
GROUP = HEADS // KV_HEADS
OURS: tuple[Name, ...] = ("native", "composed", "concatenated")
Attend = Callable[[], Tensor]


class Case:
    """One shape: its tensors, laid out as models have them, and the contestants."""

    def __init__(self, batch: int, queries: int, prefix: int, dtype: torch.dtype) -> None:
        own = CACHED if queries == 1 else queries
        self.is_training = queries > 1

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=dtype, requires_grad=self.is_training)

        self.query = random(batch, queries, HEADS, SIZE).transpose(1, 2)
        self.prefix_key, self.prefix_value = (random(KV_HEADS, prefix, SIZE) for _ in range(2))
        # A cache is [B, KV, T, d] in memory, what a layer has just computed [B, T, KV, d].
        shape = (batch, own, KV_HEADS, SIZE)
        self.key, self.value = (random(*shape).transpose(1, 2) for _ in range(2))
        if not self.is_training:
            self.key, self.value = self.key.contiguous(), self.value.contiguous()
        self.five = (self.query, self.prefix_key, self.prefix_value, self.key, self.value)
        self.seen = torch.ones(queries, prefix + own, dtype=torch.bool).tril(prefix + own - queries)[
            None, None
        ]
        least = torch.finfo(dtype).min
        self.mask = torch.zeros(batch, 1, queries, prefix + own, dtype=dtype).masked_fill(~self.seen, least)
        self.grad = torch.randn_like(self.query)
        self.chosen = choose(Inputs._make((*self.five, None, None, SIZE**-0.5)))

    def contestants(self) -> dict[str, Attend]:
        ours: dict[str, Attend] = {
            name: lambda name=name: shared_prefix_attention(*self.five, path=name)  # type: ignore[misc]
            for name in OURS
        }
        return {
            "operator": lambda: shared_prefix_attention(*self.five),
            "peft": self.peft,
            "gqa": self.gqa,
            **ours,
        }

    def peft(self) -> Tensor:
        batch = len(self.query)
        keys = torch.cat([self.prefix_key.repeat(batch, 1, 1, 1), self.key], 2)
        values = torch.cat([self.prefix_value.repeat(batch, 1, 1, 1), self.value], 2)
        if not self.is_training:
            return self._one_query(keys, values)
        keys, values = (x.repeat_interleave(GROUP, 1) for x in (keys, values))
        return scaled_dot_product_attention(self.query, keys, values, self.mask)

    def gqa(self) -> Tensor:
        batch = len(self.query)
        keys = torch.cat([self.prefix_key.expand(batch, -1, -1, -1), self.key], 2)
        values = torch.cat([self.prefix_value.expand(batch, -1, -1, -1), self.value], 2)
        if not self.is_training:
            return self._one_query(keys, values)
        return scaled_dot_product_attention(self.query, keys, values, self.seen, enable_gqa=True)

    def _one_query(self, keys: Tensor, values: Tensor) -> Tensor:
        """transformers packs the heads that share keys as queries, where there is but one."""
        rows = self.query.reshape(-1, KV_HEADS, GROUP, SIZE)
        return scaled_dot_product_attention(rows, keys, values).reshape(self.query.shape)

    def run(self, attend: Attend) -> Any:
        if not self.is_training:
            with torch.no_grad():
                return attend()
        return torch.autograd.grad(attend(), self.five, self.grad)


def peak(case: Case, attend: Attend) -> float:
    """The most that was allocated at a time, in MiB, above what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = case.run(attend)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    del result
    return most / 2**20


def measure(case: Case, rounds: int) -> dict[str, Any]:
    contestants = case.contestants()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    repeats = 1 if case.is_training else 20
    for turn in range(rounds + 1):
        names = list(contestants)[:: 1 if turn % 2 else -1]
        for name in names:
            start = time.perf_counter()
            for _ in range(repeats):
                case.run(contestants[name])
            if turn:
                seconds[name].append((time.perf_counter() - start) / repeats)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    slower = {name: round(each / medians["operator"], 2) for name, each in medians.items()}
    return {
        "chosen": case.chosen.path,
        "ms": {name: round(each * 1e3, 3) for name, each in medians.items()},
        "slower": slower,
        "best_alternative": min(
            each for name, each in slower.items() if name not in ("operator", case.chosen.path)
        ),
        "peak_mib": {name: round(peak(case, attend), 1) for name, attend in contestants.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--prefix", type=int, nargs="+", default=[20, 64, 128, 512, 2048])
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 64, 256])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    told: dict[str, Any] = {"threads": options.threads, "batch": options.batch}
    for dtype in options.dtype:
        for queries in options.queries:
            for prefix in options.prefix:
                case = Case(options.batch, queries, prefix, getattr(torch, dtype))
                told[f"{dtype}, {queries} queries, prefix {prefix}"] = measure(case, options.rounds)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
