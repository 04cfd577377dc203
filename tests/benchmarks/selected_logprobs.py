"""Selected log-probabilities: each path, and PyTorch's own, in time and peak memory.

    python tests/benchmarks/selected_logprobs.py [--rounds 5] [--places 128 512 2048] [--without-torch]

Ways: all logits at once ("definition"), blocks of the vocabulary ("chunked"), and PyTorch's
`linear_cross_entropy` with its own chunks ("torch"). What needs gradients: nothing, the hidden states alone
(soft prompts, adapters), or the head too. Medians of interleaved runs in milliseconds, and the peak in MiB of
what is allocated beside the inputs. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import LinearCrossEntropyOptions
from torch.nn.functional import linear_cross_entropy
from torch.profiler import ProfilerActivity, profile

from workbench.ops.selected_logprobs.definition import Inputs
from workbench.ops.selected_logprobs.logprobs import selected_logprobs
from workbench.ops.selected_logprobs.paths import choose

HEADS = {"SmolLM2-135M": (576, 49152), "GPT-2 small": (768, 50257)}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
NEEDS = ("nothing", "hidden", "head too")

Way = Callable[[Tensor, Tensor, Tensor], Tensor]
WAYS: dict[str, Way] = {
    "definition": lambda h, w, t: selected_logprobs(h, w, t, path="definition").logprobs,
    "chunked": lambda h, w, t: selected_logprobs(h, w, t, path="chunked").logprobs,
    "torch": lambda h, w, t: (
        -linear_cross_entropy(h, w, t, reduction="none", options=LinearCrossEntropyOptions())
    ),
}


def peak(action: Callable[[], object]) -> float:
    """The most bytes allocated at once during an action, in MiB."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        action()
    now = most = 0
    assert seen.profiler is not None and seen.profiler.kineto_results is not None
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most / 2**20


def measure(
    places: int, head: str, kind: str, needs: str, rounds: int, ways: dict[str, Way]
) -> dict[str, object]:
    size, vocabulary = HEADS[head]
    dtype = TYPES[kind]
    torch.manual_seed(0)
    hidden = torch.randn(places, size).to(dtype).requires_grad_(needs != "nothing")
    weight = (torch.randn(vocabulary, size) / 20).to(dtype).requires_grad_(needs == "head too")
    targets = torch.randint(0, vocabulary, (places,))
    wanted = [tensor for tensor in (hidden, weight) if tensor.requires_grad]
    grad = torch.randn(places)

    def call(way: Way) -> None:
        found = way(hidden, weight, targets)
        if wanted:
            torch.autograd.grad(found, wanted, grad.to(found.dtype))

    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            call(way)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    choice = choose(Inputs(hidden, weight, targets, None, -100, 1.0, None, 1.0))
    return {
        "places": places,
        "head": head,
        "type": kind,
        "needs": needs,
        "ms": {name: round(1000 * value, 1) for name, value in medians.items()},
        "MiB": {name: round(peak(partial(call, way)), 1) for name, way in ways.items()},
        "chosen": choice.path,
        "best ÷ chosen": round(min(medians.values()) / medians[choice.path], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--places", type=int, nargs="+", default=[1, 16, 128, 512, 2048])
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=["SmolLM2-135M"])
    parser.add_argument("--without-torch", action="store_true", help="its own takes up to 10 s a call")
    chosen = parser.parse_args()
    ways = {name: way for name, way in WAYS.items() if name != "torch" or not chosen.without_torch}
    torch.set_num_threads(chosen.threads)
    for head in chosen.heads:
        for places in chosen.places:
            for kind in TYPES:
                for needs in NEEDS:
                    row = measure(places, head, kind, needs, chosen.rounds, ways)
                    print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
