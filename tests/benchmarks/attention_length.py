"""Time and memory of decoders by kind of attention and length, and what caches of few bits cost in quality.

`python tests/benchmarks/attention_length.py` measures decoders with random weights, one of each kind: reading
a text, what is kept of it, a further token, and a forward and backward pass, from 256 to 16,384 tokens. Each
kind is measured in a process of its own. With `--model FOLDER` instead: the perplexity of a trained decoder
on Python's own library with its keys and values in fp32, int8 and int4, read in pieces of `--chunk` tokens so
that most of what is seen comes out of the cache.

Prints JSON. On two quiet cores the first takes some ten minutes, the second two minutes for SmolLM2-135M.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "sliding_window": {"attention": "sliding_window", "sliding_window": 256},
    "window_global, layers": {
        "attention": "window_global",
        "sliding_window": 256,
        "global_attn_every_n_layers": 4,
    },
    "window_global, tokens": {"attention": "window_global", "sliding_window": 256, "global_tokens": 4},
    "strided": {"attention": "strided", "attention_stride": 128},
    "linear": {"attention": "linear"},
}
SHAPE = {
    "vocab_size": 1000,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 16_384 + 64,
}
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16_384)


def quiet(done: int, total: int) -> None:
    """Nothing is told on the way."""


def measure(kind: str, lengths: list[int]) -> dict[str, Any]:
    """One kind, in this process."""
    import torch
    from transformers.utils import logging

    from workbench.inference.engine.state_runner import StateRunner
    from workbench.models.attention.patterns import layer_patterns
    from workbench.models.build import build_model
    from workbench.models.fused_weights import fuse
    from workbench.prediction.context_cost import costs_of, steps_of
    from workbench.recipe import ModelSection

    logging.disable_progress_bar()
    torch.manual_seed(0)
    section = ModelSection(**SHAPE, **KINDS[kind])
    training = steps_of(build_model(section, Tokenizer()), lengths, quiet)
    torch.manual_seed(0)
    model: Any = build_model(section, Tokenizer()).eval()
    patterns = layer_patterns(model.config)
    assert not isinstance(patterns, str)
    runner = StateRunner(fuse(model, SHAPE["max_position_embeddings"]), patterns)
    return {
        "runner": runner.name,
        "threads": torch.get_num_threads(),
        "costs": costs_of(runner, lengths, quiet),
        "training": training,
    }


class Tokenizer:
    """As much of one as building needs."""

    bos_token_id = eos_token_id = pad_token_id = 0

    def __len__(self) -> int:
        return SHAPE["vocab_size"]


def qualities(folder: str, windows: int, length: int, chunk: int) -> dict[str, Any]:
    """Mean loss and perplexity by type of the cache's numbers, and how far logits are from those of fp32."""
    import torch
    from torch.nn.functional import cross_entropy
    from transformers.utils import logging

    from workbench.data.stdlib import stdlib_files
    from workbench.inference.engine.state_runner import StateRunner
    from workbench.inference.loading.load import load_for_inference
    from workbench.models.attention.patterns import layer_patterns
    from workbench.models.fused_weights import fuse

    logging.disable_progress_bar()
    loaded = load_for_inference(folder, dtype="float32", device="cpu")
    patterns = layer_patterns(loaded.model.config)
    assert not isinstance(patterns, str)
    weights = fuse(loaded.model, length)
    ids: list[int] = []
    for path in stdlib_files():
        ids += loaded.tokenizer(path.read_text(encoding="utf-8", errors="replace"))["input_ids"]
        if len(ids) >= windows * length:
            break
    found: dict[str, Any] = {"model": folder, "windows": windows, "length": length, "chunk": chunk}
    true: list[torch.Tensor] = []
    for kind in ("auto", "int8", "int4"):
        runner = StateRunner(weights, patterns, kind)
        runner.chunk = chunk
        losses, distance, size = [], 0.0, 0.0
        for number in range(windows):
            text = ids[number * length : (number + 1) * length]
            with torch.inference_mode():
                prefill, parts = runner.begin(text, all_logits=True), []
                while prefill.remaining:
                    part = runner.advance(prefill)
                    assert part is not None
                    parts.append(part)
                runner.forget(prefill)
            logits = torch.cat(parts)
            losses.append(float(cross_entropy(logits[:-1], torch.tensor(text[1:]))))
            if kind == "auto":
                true.append(logits)
            distance += float((logits - true[number]).square().sum())
            size += float(true[number].square().sum())
        loss = sum(losses) / windows
        name = "fp32" if kind == "auto" else kind
        found[name] = {
            "loss": loss,
            "perplexity": float(torch.tensor(loss).exp()),
            "relative_error_of_logits": (distance / size) ** 0.5,
            "bytes_per_token": runner.bytes_per_token,
        }
    return found


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)))
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--model", metavar="FOLDER")
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--window-length", type=int, default=512)
    parser.add_argument("--chunk", type=int, default=16)
    args = parser.parse_args()
    lengths = [int(word) for word in args.lengths.split(",")]
    if args.one:
        print(json.dumps(measure(args.one, lengths)))
        return
    if args.model:
        print(json.dumps(qualities(args.model, args.windows, args.window_length, args.chunk), indent=1))
        return
    result = {"shape": SHAPE}
    for kind in args.kinds:
        command = [sys.executable, __file__, "--one", kind, "--lengths", args.lengths]
        result[kind] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
