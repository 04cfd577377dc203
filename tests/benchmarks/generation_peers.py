"""One measured process of `generation.py`: loads one engine, answers the same request a few times.

    python generation_peers.py ours|transformers|llama.cpp MODEL PRECISION SAMPLES REPEATS

MODEL is a transformers folder, or a GGUF file for llama.cpp. Each repeat is a whole request: a prompt of 512
tokens nobody has seen before, 64 new tokens for each sample, top-k 50, the end of text ignored.
"""

from __future__ import annotations

import argparse
import atexit
import json
import random
import time
from pathlib import Path
from typing import Any

PROMPT, NEW, TOP_K = 512, 64, 50


def memory_mib() -> dict[str, float]:
    """The most memory that this process has had resident, and what it has now; of that, what is not mapped
    from files."""
    names = {"VmHWM": "peak_mib", "VmRSS": "resident_mib", "RssAnon": "anonymous_mib"}
    status = Path("/proc/self/status").read_text().splitlines()
    fields = {line.split(":")[0]: line for line in status}
    return {told: int(fields[name].split()[1]) / 1024 for name, told in names.items()}


def prompt(vocabulary: int, seed: int) -> list[int]:
    """Token ids at random, without special ones at the beginning of the vocabulary."""
    return random.Random(seed).choices(range(100, vocabulary - 100), k=PROMPT)


def ours(model: str, precision: str, samples: int) -> Any:
    """The engine, in this process."""
    import threading

    from workbench.inference.worker import share_cores

    share_cores()

    import torch

    from workbench.inference.engine.engine import Engine
    from workbench.inference.engine.requests import Ended, EngineRequest, Progress, SamplingParams
    from workbench.inference.limits import Limits
    from workbench.inference.loading.load import load_for_inference
    from workbench.inference.server.opening import choose_runner, give_back_memory

    loaded = load_for_inference(model, dtype=precision)
    with torch.inference_mode():
        runner = choose_runner(loaded, 2048)
    give_back_memory()
    engine = Engine(runner, loaded.tokenizer, frozenset(), Limits())
    engine.start()
    atexit.register(engine.close)  # Python must not end while its thread is at work in torch

    def request(seed: int) -> tuple[float, float]:
        ended, times = threading.Event(), [0.0]

        def listener(events: list[Any]) -> None:
            if not times[0] and any(isinstance(event, Progress) for event in events):
                times[0] = time.perf_counter()
            if any(isinstance(event, Ended) for event in events):
                ended.set()

        params = SamplingParams(max_tokens=NEW, top_k=TOP_K, ignore_eos=True)
        begun = time.perf_counter()
        engine.submit(EngineRequest(tuple(prompt(runner.vocabulary, seed)), params, n=samples), listener)
        ended.wait()
        return times[0] - begun, time.perf_counter() - begun

    return request


def transformers(model: str, precision: str, samples: int) -> Any:
    """`generate`, as most people call it."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.generation.streamers import BaseStreamer

    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, precision)).eval()
    loaded.generation_config.eos_token_id = None

    class First(BaseStreamer):  # type: ignore[misc]
        """When the first token came; streamers hear the prompt first, and know one sequence only."""

        def __init__(self) -> None:
            self.heard: list[float] = []

        def put(self, value: Any) -> None:
            self.heard.append(time.perf_counter())

        def end(self) -> None:
            pass

    def request(seed: int) -> tuple[float, float]:
        ids = torch.tensor([prompt(loaded.config.vocab_size, seed)])
        first = First() if samples == 1 else None
        begun = time.perf_counter()
        loaded.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW,
            do_sample=True,
            top_k=TOP_K,
            num_return_sequences=samples,
            streamer=first,
            pad_token_id=0,
        )
        ended = time.perf_counter()
        return (first.heard[1] - begun if first else 0.0), ended - begun

    return request


def llama_cpp(model: str, precision: str, samples: int) -> Any:
    """llama.cpp through its own interface: the prompt read once, its cache shared by all sequences."""
    import llama_cpp.llama_cpp as c
    import numpy as np

    c.llama_backend_init()
    loaded = c.llama_model_load_from_file(model.encode(), c.llama_model_default_params())
    options = c.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch = 2048, 512, 512
    options.n_seq_max, options.kv_unified = max(1, samples), True
    options.n_threads = options.n_threads_batch = 2
    context = c.llama_init_from_model(loaded, options)
    vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(loaded))
    memory, batch = c.llama_get_memory(context), c.llama_batch_init(512, 0, 1)
    chain = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_k(TOP_K))
    c.llama_sampler_chain_add(chain, c.llama_sampler_init_dist(1))

    def decode(entries: list[tuple[int, int, int, bool]]) -> None:
        batch.n_tokens = len(entries)
        for place, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[place], batch.pos[place] = token, position
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
            batch.logits[place] = wanted
        if c.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")

    def request(seed: int) -> tuple[float, float]:
        ids = prompt(vocabulary, seed)
        begun = time.perf_counter()
        c.llama_memory_clear(memory, True)
        decode([(token, place, 0, place == PROMPT - 1) for place, token in enumerate(ids)])
        for sequence in range(1, samples):
            c.llama_memory_seq_cp(memory, 0, sequence, -1, -1)
        last = [c.llama_sampler_sample(chain, context, PROMPT - 1) for _ in range(samples)]
        first = time.perf_counter() - begun
        for step in range(NEW - 1):
            decode([(token, PROMPT + step, sequence, True) for sequence, token in enumerate(last)])
            last = [c.llama_sampler_sample(chain, context, sequence) for sequence in range(samples)]
        assert np.all(np.array(last) >= 0)
        return first, time.perf_counter() - begun

    return request


def main() -> None:
    makers = {"ours": ours, "transformers": transformers, "llama.cpp": llama_cpp}
    parser = argparse.ArgumentParser(description="One engine in a process of its own, for generation.py.")
    parser.add_argument("kind", choices=makers)
    for name, kind in (("model", str), ("precision", str), ("samples", int), ("repeats", int)):
        parser.add_argument(name, type=kind)
    options = parser.parse_args()
    request = makers[options.kind](options.model, options.precision, options.samples)
    request(0)
    told = [request(seed) for seed in range(1, options.repeats + 1)]
    print("RESULT " + json.dumps({"requests": told, **memory_mib()}))


if __name__ == "__main__":
    main()
