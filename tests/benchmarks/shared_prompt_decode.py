"""Decoding samples that share a prompt: with it held once, and with transformers' cache expanded over them.

    python tests/benchmarks/shared_prompt_decode.py MODEL [--dtypes float32 bfloat16] [--prompt 1024]
        [--samples 16] [--steps 12] [--threads 1]

MODEL is a transformers folder of a Llama, Qwen2 or Qwen3. The contestants take turns, step by step, in this
process: `native` (the engine's fused decoder, which reads blocks of a prompt once for all rows), `engine`
(the engine on transformers' own forward, its attention through `ops.shared_prefix`), `model` (the same
operator in the model itself, called with a `SharedPrefixCache`), and transformers' forward with the prompt
repeated for each sample, in a DynamicCache (SDPA, eager) and in a StaticCache (SDPA). All read the same
tokens, and their logits must agree. Prints JSON: medians of a step's wall and own processor time in
milliseconds, the size of each cache, and how many times those of ours the best expanded one takes, and the
best DynamicCache.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache, StaticCache

from workbench.inference.engine.dense_attention import NAME
from workbench.inference.engine.dense_cache import cache_name
from workbench.inference.engine.paged_runner import PagedRunner
from workbench.inference.engine.runner import Runner
from workbench.inference.engine.transformers_runner import TransformersRunner
from workbench.models.fused_weights import fuse
from workbench.models.shared_prefix.cache import SharedPrefixCache
from workbench.models.shared_prefix.decoder import prefix_of_prompt, shared_prefixes

WARM_UP = 2
TOLERANCE = {"float32": 1e-3, "bfloat16": 1e-1}
"""Of the largest logit: far above what rounding does, far below what a wrong mask does."""


class Ours:
    """A runner of the engine with samples of one prompt."""

    def __init__(self, runner: Runner[Any, Any], prompt: list[int], samples: int, steps: int) -> None:
        self.runner = runner
        self.prefill = runner.begin(prompt, samples=samples)
        while self.prefill.remaining:
            runner.advance(self.prefill)
        self.rows = [runner.open(self.prefill, steps) for _ in range(samples)]

    def __call__(self, tokens: Tensor) -> Tensor:
        return self.runner.decode(self.rows, tokens.tolist())

    def bytes(self) -> int:
        """Keys and values of all rows, what they share counted once."""
        if isinstance(self.runner, PagedRunner):
            segments = {id(part): part for row in self.rows for part in row.row.segments}
            return sum(part.keys.nbytes + part.values.nbytes for part in segments.values())
        cache, trunk = self.rows[0].batch.cache, self.rows[0].trunk
        assert trunk is not None, "the prompt is copied"
        size: int = trunk.bytes + sum(tensor.nbytes for tensor in cache.tensors())
        return size


class Expanded:
    """transformers' forward over a cache that holds the prompt once a sample."""

    def __init__(self, model: Any, cache: Any) -> None:
        self.model, self.cache = model, cache
        self.cached = {cache_name(model): cache, "use_cache": True}

    def __call__(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens[:, None], **self.cached).logits[:, -1]
        return logits.float()

    def bytes(self) -> int:
        """Keys and values of all rows."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)


class InModel(Expanded):
    """transformers' forward with the operator as its attention, over a cache of the rows' own tokens."""

    def __init__(self, model: Any, prompt: list[int]) -> None:
        self.prefix = prefix_of_prompt(model, torch.tensor(prompt))
        super().__init__(model, SharedPrefixCache(self.prefix))

    def bytes(self) -> int:
        """Keys and values of all rows, and once of the prompt."""
        return super().bytes() + sum(part.nbytes for pair in self.prefix.layers for part in pair)


@contextmanager
def prepared(model: Any, name: str) -> Iterator[None]:
    """The model with the attention that a contestant has."""
    if name == "model":
        with shared_prefixes(model):
            yield
        return
    model.set_attn_implementation({"engine": NAME, "expanded, eager": "eager"}.get(name, "sdpa"))
    yield


def expanded_caches(model: Any, prompt: list[int], samples: int, steps: int) -> dict[str, Any]:
    """A growing cache twice, and one of fixed size; the prompt is read once."""
    read = DynamicCache(config=model.config)
    model(torch.tensor([prompt]), logits_to_keep=1, **{cache_name(model): read, "use_cache": True})
    caches = {name: copy.deepcopy(read) for name in ("expanded, sdpa", "expanded, eager")}
    for cache in caches.values():
        cache.batch_repeat_interleave(samples)
    fixed = StaticCache(config=model.config, max_cache_len=len(prompt) + steps)
    for number, layer in enumerate(read.layers):
        pair = (part.expand(samples, *part.shape[1:]) for part in (layer.keys, layer.values))
        fixed.update(*pair, number)
    return {**caches, "expanded, static": fixed}


def measured(
    contestants: dict[str, Any], model: Any, vocabulary: int, samples: int, steps: int, dtype: str
) -> dict[str, Any]:
    """Medians of all, taken by turns, and their logits compared."""
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    own: dict[str, list[float]] = {name: [] for name in contestants}
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        tokens = torch.randint(100, vocabulary - 100, (samples,), generator=generator)
        logits: dict[str, Tensor] = {}
        for name, contestant in contestants.items():
            with prepared(model, name):
                time.sleep(0.02)  # the threads of the one before spin for some milliseconds more
                start, busy = time.perf_counter(), time.process_time()
                logits[name] = contestant(tokens)
                seconds = time.perf_counter() - start, time.process_time() - busy
            if step >= WARM_UP:
                wall[name].append(seconds[0])
                own[name].append(seconds[1])
        truth = logits["expanded, eager"]
        for name, found in logits.items():
            error = float((found - truth).abs().max() / truth.abs().max())
            assert error < TOLERANCE[dtype], f"{name} differs from the expanded cache by {error:.2g}"
    lines = {
        name: {
            "wall_ms": round(statistics.median(wall[name]) * 1e3, 1),
            "processor_ms": round(statistics.median(own[name]) * 1e3, 1),
            "cache_mib": round(contestant.bytes() / 2**20, 1),
        }
        for name, contestant in contestants.items()
    }
    theirs = [name for name in contestants if name.startswith("expanded")]
    for name in ("native", "engine", "model"):
        for word, others in (("best_expanded", theirs), ("dynamic", theirs[:2])):
            for kind in ("wall_ms", "processor_ms", "cache_mib"):
                best = min(lines[other][kind] for other in others)
                lines[name][f"{word}_to_{kind}"] = round(best / lines[name][kind], 2)
    return lines


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=list(TOLERANCE))
    parser.add_argument("--prompt", type=int, default=1024)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    told: dict[str, Any] = {"prompt": options.prompt, "samples": options.samples, "threads": options.threads}
    for dtype in options.dtypes:
        model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, dtype)).eval()
        vocabulary = model.config.vocab_size
        generator = torch.Generator().manual_seed(0)
        prompt = torch.randint(100, vocabulary - 100, (options.prompt,), generator=generator).tolist()
        room = options.prompt + options.steps + 1
        rows = prompt, options.samples, options.steps
        native = PagedRunner(fuse(copy.deepcopy(model), room))
        contestants: dict[str, Any] = {
            name: Expanded(model, cache) for name, cache in expanded_caches(model, *rows).items()
        }
        contestants["model"] = InModel(model, prompt)
        contestants["engine"] = Ours(TransformersRunner(model), *rows)
        contestants["native"] = Ours(native, *rows)
        told[dtype] = measured(contestants, model, vocabulary, options.samples, options.steps, dtype)
        told[dtype]["native_runner"] = native.name
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
