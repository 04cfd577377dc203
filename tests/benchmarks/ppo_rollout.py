"""Writing the answers of a rollout: the workbench's writers against transformers' generate.

    python tests/benchmarks/ppo_rollout.py MODEL [--prompts 8] [--samples 4] [--length 64] [--rows 32]
        [--threads 1] [--rounds 3] [--bf16]

MODEL is a transformers folder of a Llama-shaped model with its tokenizer. Each contestant writes `samples`
answers to each of `prompts` prompts from the whole distribution at temperature 1, up to the model's ends or
`length` tokens; they take turns, and each round has prompts of its own. The native writer takes the weights
anew each time, as it does after an optimiser step; that is in its figures and is given by itself, too.
Prints JSON: tokens (real ones: padding behind an end is none) a second of wall time and of own processor
time, medians over the rounds, and how many times generate's they are. Draws differ, and so do lengths: the
mean length is beside. On a busy machine believe the processor time of one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from workbench.data.turn_ends import ends_of_model
from workbench.training.ppo.answers import Manner
from workbench.training.ppo.cached_writer import CachedWriter
from workbench.training.ppo.drawing import uniforms
from workbench.training.ppo.native_writer import NativeWriter

TOPICS = (
    "tea",
    "rivers",
    "the moon",
    "bread",
    "a good walk",
    "winter",
    "friendship",
    "clocks",
    "birds",
    "old maps",
)
ASKED = (
    "Say something about {}.",
    "Why do people like {}? Answer in one sentence.",
    "Write two lines on {} for a child who has never heard of it.",
    "List three facts about {}.",
)


def prompts_of(tokenizer: Any, count: int, first: int) -> list[list[int]]:
    """Short questions of unequal lengths."""
    texts = [ASKED[n % len(ASKED)].format(TOPICS[n % len(TOPICS)]) for n in range(first, first + count)]
    if not tokenizer.chat_template:
        return [list(tokenizer(text)["input_ids"]) for text in texts]
    return [
        list(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
            )["input_ids"]
        )
        for text in texts
    ]


def generated(
    model: Any, manner: Manner, pad: int, bf16: bool, prompts: list[list[int]], samples: int
) -> int:
    """Real tokens that transformers' generate writes."""
    width, tokens = max(map(len, prompts)), 0
    together = max(1, manner.rows // samples)
    for start in range(0, len(prompts), together):
        some = prompts[start : start + together]
        ids = torch.full((len(some), width), pad)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(some):
            ids[row, width - len(prompt) :], mask[row, width - len(prompt) :] = torch.tensor(prompt), 1
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            written = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=manner.temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=manner.length,
                num_return_sequences=samples,
                eos_token_id=sorted(manner.ends),
                pad_token_id=pad,
            )[:, width:]
        ends = torch.isin(written, torch.tensor(sorted(manner.ends)))
        tokens += int(((ends.cumsum(1) - ends.long()) == 0).sum())
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    manner = Manner(args.length, ends_of_model(model, tokenizer), 1.0, args.rows)
    positions = args.length + 256
    native = NativeWriter(model, manner, positions, torch.bfloat16 if args.bf16 else torch.float32)
    cached = CachedWriter(model, manner, args.bf16, "")
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    count = args.prompts * args.samples

    def by(writer: Any) -> Callable[[list[list[int]], int], int]:
        def write(prompts: list[list[int]], number: int) -> int:
            chances = uniforms(count, args.length, number)
            found = writer.write(prompts, args.samples, chances, lambda done, total: None)
            return sum(len(answer.ids) for answer in found)

        return write

    contestants: dict[str, Callable[[list[list[int]], int], int]] = {
        "native": by(native),
        "cached": by(cached),
        "generate": lambda prompts, number: generated(model, manner, pad, args.bf16, prompts, args.samples),
    }
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    own: dict[str, list[float]] = {name: [] for name in contestants}
    lengths: dict[str, list[float]] = {name: [] for name in contestants}
    refreshed = []
    for turn in range(args.rounds + 1):
        prompts = prompts_of(tokenizer, args.prompts, turn * args.prompts)
        for name, write in contestants.items():
            start, busy = time.perf_counter(), time.process_time()
            tokens = write(prompts, turn)
            seconds, processor = time.perf_counter() - start, time.process_time() - busy
            # The first round compiles and warms up.
            if turn:
                wall[name].append(tokens / seconds)
                own[name].append(tokens / processor)
                lengths[name].append(tokens / count)
        busy = time.process_time()
        native.decoder.weights()
        refreshed.append(time.process_time() - busy)
    base = {"wall": statistics.median(wall["generate"]), "own": statistics.median(own["generate"])}
    print(
        json.dumps(
            {
                "model": args.model,
                "answers": count,
                "threads": args.threads,
                "dtype": "bf16" if args.bf16 else "fp32",
                "refresh_processor_ms": round(statistics.median(refreshed) * 1e3, 1),
                "writers": {
                    name: {
                        "tokens_per_second": round(statistics.median(wall[name]), 1),
                        "tokens_per_processor_second": round(statistics.median(own[name]), 1),
                        "mean_length": round(statistics.mean(lengths[name]), 1),
                        "times_generate_wall": round(statistics.median(wall[name]) / base["wall"], 2),
                        "times_generate_processor": round(statistics.median(own[name]) / base["own"], 2),
                    }
                    for name in contestants
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
