"""One task, every method: SST-2 as generation ("positive" or "negative") by a small instruct model, untuned
and tuned by prompt, prefix, LoRA and all weights; accuracy, parameters, seconds and peak memory.

    python tests/benchmarks/soft_prompt_sst2.py MODEL DATA [--methods prompt,prefix] > table.json

MODEL is a folder of transformers', DATA one with train.tsv and test.tsv (sentence TAB 0 or 1, no header).
Each method trains in a process of its own, as `workbench train` does with a preset, on the same records
in one order. An answer is right if it, stripped, begins with the right word ("accuracy"); "of_two" asks only
which of the two words is likelier to begin it, which a model that does not follow the form gets right too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

METHODS = ("untuned", "prompt", "prefix", "lora", "full")
WORDS = ("negative", "positive")
QUESTION = "Is this review positive or negative? Answer with one word.\n"
BATCH, LENGTH, EVAL_BATCH = 16, 128, 25
RATES = {"prompt": 1e-2, "prefix": 1e-2, "lora": 5e-4, "full": 2e-5}


def wilson(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, extra = right / total, z * z / total
    middle = (share + extra / 2) / (1 + extra)
    half = z / (1 + extra) * math.sqrt(share * (1 - share) / total + extra / (4 * total))
    return middle - half, middle + half


def read(path: Path, limit: int, seed: int) -> list[tuple[str, str]]:
    """Sentences with the word for each, a random `limit` of them."""
    lines = [line.rstrip("\n").split("\t") for line in path.open(encoding="utf-8")]
    random.Random(seed).shuffle(lines)
    return [(QUESTION + sentence, WORDS[int(label)]) for sentence, label in lines[:limit]]


def recipe_of(method: str, args: argparse.Namespace, home: Path) -> list[str]:
    """The overrides of a preset."""
    return [
        f"model.model_name_or_path={args.model}",
        f"data.sources=[{home / 'train.jsonl'}]",
        "data.eval_fraction=0",
        f"data.max_length={LENGTH}",
        f"training.max_steps={args.steps}",
        f"training.per_device_train_batch_size={BATCH}",
        f"training.learning_rate={args.rate or RATES[method]}",
        f"training.seed={args.seed}",
        f"training.save_steps={args.steps}",
        f"launch.num_threads={args.threads}",
        "launch.device=cpu",
    ]


def train(method: str, args: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Train by the product's own worker, in a process of its own; seconds and peak resident bytes."""
    from workbench.recipe import load
    from workbench.store.runs import create_run

    run = create_run(load(f"sentiment-{method}", recipe_of(method, args, home)), f"sst2-{method}")
    began = time.monotonic()
    with run.log_path.open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "workbench.training", str(run.path)], stdout=log, stderr=log
        )
        _, status, usage = os.wait4(worker.pid, 0)
    if status:
        raise SystemExit(f"{method}: {run.log_path.read_text()[-2000:]}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"folder": str(run.final_path), "seconds": time.monotonic() - began, "peak_bytes": peak}


def answer(method: str, folder: str, args: argparse.Namespace) -> dict[str, Any]:
    """Greedy answers to the test slice, and how many weights learned."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.data.records.answers import prompt_text

    torch.set_num_threads(args.threads)
    adapted = (Path(folder) / "adapter_config.json").is_file()
    model: Any = AutoModelForCausalLM.from_pretrained(args.model if adapted else folder, dtype=torch.float32)
    total = sum(weights.numel() for weights in model.parameters())
    learned = 0 if method == "untuned" else total
    if adapted:
        model = PeftModel.from_pretrained(model, folder)
        from safetensors import safe_open

        with safe_open(Path(folder) / "adapter_model.safetensors", "pt") as file:
            learned = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    tokenizer: Any = AutoTokenizer.from_pretrained(args.model, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    records = read(Path(args.data) / "test.tsv", args.test, args.seed)
    firsts = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in WORDS]
    right = right_of_two = 0
    # By length, so that little is padded.
    records.sort(key=lambda record: len(record[0]))
    for start in range(0, len(records), EVAL_BATCH):
        part = records[start : start + EVAL_BATCH]
        texts = [prompt_text(prompt, tokenizer) for prompt, _ in part]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            output = model.eval().generate(
                **inputs,
                max_new_tokens=4,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
                return_dict_in_generate=True,
                output_logits=True,
            )
        # Behind a soft prompt PEFT may give the new tokens alone.
        new = output.sequences[:, -len(output.logits) :]
        said = tokenizer.batch_decode(new, skip_special_tokens=True)
        likelier = output.logits[0][:, firsts].argmax(1).tolist()
        right_of_two += sum(WORDS[one] == word for one, (_, word) in zip(likelier, part, strict=True))
        right += sum(
            text.strip().lower().startswith(word) for text, (_, word) in zip(said, part, strict=True)
        )
    low, high = wilson(right, len(records))
    return {
        "accuracy": right / len(records),
        "interval": [low, high],
        "of_two": right_of_two / len(records),
        "parameters": learned,
        "share": learned / total,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--train", type=int, default=2400)
    parser.add_argument("--test", type=int, default=600)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rate", type=float, help="a learning rate for all methods")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--answer", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.model = str(Path(args.model).absolute())
    if args.answer:
        method, folder = args.answer
        print(json.dumps(answer(method, folder, args)))
        return
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["WORKBENCH_HOME"] = name
        records = read(Path(args.data) / "train.tsv", args.train, args.seed)
        lines = [json.dumps({"prompt": prompt, "completion": word}) for prompt, word in records]
        (home / "train.jsonl").write_text("\n".join(lines) + "\n")
        for method in args.methods.split(","):
            made = {"folder": args.model, "seconds": 0.0, "peak_bytes": None}
            if method != "untuned":
                made = train(method, args, home)
            command = [sys.executable, __file__, args.model, args.data, "--answer", method, made["folder"]]
            command += ["--test", str(args.test), "--seed", str(args.seed), "--threads", str(args.threads)]
            found = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
            row = {"method": method, **found, "seconds": made["seconds"], "peak_bytes": made["peak_bytes"]}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
