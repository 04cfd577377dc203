"""A reward model from the answers of three real models: does it know the better one where it has seen none?

    python tests/benchmarks/reward_rankings.py DATA MODEL [--folds 5] [--recipe key=value …] > rankings.json

DATA has what three models of clearly different strength answered to the same instructions, in
predictions.text-davinci-003.jsonl (the best), .text-davinci-001.jsonl and .davinci-self-instruct.jsonl (as
in yizhongw/self-instruct, human_eval): three-way rankings, the stronger model above the weaker one. Blanks
around answers are taken off, since models differ in them; of answers that are the same, the better model
keeps it. MODEL is a folder with a decoder and a chat template.

Prompts are divided into folds; for each, a model is trained on the others by the product's own worker, and
scores the answers of this one by the product's `predict`. So every prompt is judged once, by a model that has
not seen it. Reported over all pairs of all prompts: how many are put in the right order by "k-wise" (the
rankings whole, all pairs of a prompt in one element), by "pairs" (the same pairs, shuffled, each an element)
and by "longer" (the more tokens the better); the 95 % interval of each, and of what they have more than
another, by resampling prompts; the pairs of answers of about the same length (at most 1 : 1.25) for
themselves. Runs are kept with --home DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

STRONGEST_FIRST = ("text-davinci-003", "text-davinci-001", "davinci-self-instruct")
ANSWER_TOKENS = 320
"""Answers beyond are left out, and prompts of more tokens."""
SIMILAR = 1.25
KINDS = {"k-wise": [], "pairs": ["objective.shuffle_pairs=true"]}
Pair = tuple[int, float]
"""Number of the prompt, and 1 where the better answer is scored higher, 0 lower, 0.5 as high."""


def rankings(data: Path, tokenizer: Any) -> list[dict[str, Any]]:
    """Prompts with their answers, the better before the worse, and the tokens of each."""
    files = [data / f"predictions.{name}.jsonl" for name in STRONGEST_FIRST]
    found = []
    for lines in zip(*(file.open(encoding="utf-8") for file in files), strict=True):
        records = [json.loads(line) for line in lines]
        first = records[0]
        assert all(record["prompt"] == first["prompt"] for record in records)
        text = first["instruction"] + ("\n\n" + first["input"] if first["input"] else "")
        answers = list(dict.fromkeys(record["response"].strip() for record in records))
        tokens = {answer: len(tokenizer(answer)["input_ids"]) for answer in answers}
        answers = [answer for answer in answers if 0 < tokens[answer] <= ANSWER_TOKENS]
        if len(answers) > 1 and len(tokenizer(text)["input_ids"]) <= ANSWER_TOKENS:
            found.append({
                "prompt": [{"role": "user", "content": text}],
                "completions": answers,
                "ranks": list(range(1, len(answers) + 1)),
                "tokens": [tokens[answer] for answer in answers],
            })  # fmt: skip
    return found


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    """Records, one a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def scores_of(
    name: str, learnt: Path, asked: Path, overrides: list[str], args: argparse.Namespace
) -> list[list[float]]:
    """Train on rankings, then score the answers of others."""
    from workbench import paths
    from workbench.recipe import load
    from workbench.store.runs import create_run

    folder = paths.runs_dir() / name
    if not (folder / "final").is_dir():
        own = [
            f"run.name={name}", f"model.model_name_or_path={args.model}", f"data.sources=[{learnt}]",
            f"launch.num_threads={args.threads}", "launch.device=cpu", "data.eval_fraction=0",
            "data.max_length=768", "training.gradient_accumulation_steps=1",
            "training.save_steps=100000", *overrides,
        ]  # fmt: skip
        run = create_run(load("reward", own), name)
        with run.log_path.open("ab") as log:
            worker = [sys.executable, "-m", "workbench.training", str(run.path)]
            if subprocess.run(worker, stdout=log, stderr=log, check=False).returncode:
                raise SystemExit(f"{name}: {run.log_path.read_text()[-2000:]}")
    output = folder / "scores.jsonl"
    predict = ["predict", str(folder / "final"), str(asked), "--output", str(output), "--max-length", "768"]
    subprocess.run([sys.executable, "-m", "workbench", *predict], check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line)["scores"] for line in output.open(encoding="utf-8")]


def ordered(
    records: list[dict[str, Any]], values: Callable[[int], list[float]], *, similar: bool = False
) -> list[Pair]:
    """All pairs of all prompts, or those of about the same length."""
    found = []
    for number, record in enumerate(records):
        scores, tokens = values(number), record["tokens"]
        for better, worse in combinations(range(len(scores)), 2):
            if similar and max(tokens[better], tokens[worse]) > SIMILAR * min(tokens[better], tokens[worse]):
                continue
            right = (scores[better] > scores[worse]) + 0.5 * (scores[better] == scores[worse])
            found.append((number, float(right)))
    return found


def share(pairs: list[Pair]) -> float:
    """Pairs in the right order."""
    return sum(right for _, right in pairs) / len(pairs)


def interval(pairs: list[Pair], than: list[Pair] | None = None) -> list[float]:
    """95 % of the share, or of its difference from another's, over prompts drawn again 2,000 times."""
    by_prompt: dict[int, list[float]] = {}
    for place, (number, right) in enumerate(pairs):
        by_prompt.setdefault(number, []).append(right - (than[place][1] if than else 0))
    groups, draw = list(by_prompt.values()), random.Random(0)
    drawn = sorted(_mean(draw.choices(groups, k=len(groups))) for _ in range(2000))
    return [round(drawn[50], 4), round(drawn[1949], 4)]


def _mean(groups: list[list[float]]) -> float:
    return sum(map(sum, groups)) / sum(map(len, groups))


def folds(count: int, seed: int, width: int) -> Iterator[list[int]]:
    """Numbers of prompts, each in one fold."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return (sorted(order[first::width]) for first in range(width))


def measure(records: list[dict[str, Any]], seed: int, home: Path, args: argparse.Namespace) -> dict[str, Any]:
    """All folds under one seed."""
    scores: dict[str, dict[int, list[float]]] = {kind: {} for kind in KINDS}
    began = time.monotonic()
    for fold, asked in enumerate(folds(len(records), seed, args.folds)):
        learnt = [record for number, record in enumerate(records) if number not in set(asked)]
        learnt_file = write(home / f"learnt-{seed}-{fold}.jsonl", learnt)
        asked_file = write(home / f"asked-{seed}-{fold}.jsonl", [records[number] for number in asked])
        for kind, own in KINDS.items():
            # About as many tokens in an update: a pair is two answers and a prompt, a ranking mostly three.
            size = args.batch if kind == "k-wise" else 2 * args.batch
            overrides = [f"training.per_device_train_batch_size={size}", f"training.seed={seed}", *own]
            name = f"{kind}-{seed}-{fold}"
            found = scores_of(name, learnt_file, asked_file, [*overrides, *args.recipe], args)
            scores[kind] |= dict(zip(asked, found, strict=True))
        print(f"seed {seed}, fold {fold}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    judges: dict[str, Callable[[int], list[float]]] = {
        **{kind: of.__getitem__ for kind, of in scores.items()},
        "longer": lambda number: records[number]["tokens"],
    }
    every = {name: ordered(records, judge) for name, judge in judges.items()}
    similar = {name: ordered(records, judge, similar=True) for name, judge in judges.items()}
    return {
        "pairs": len(every["longer"]),
        "accuracy": {name: round(share(pairs), 4) for name, pairs in every.items()},
        "interval": {name: interval(pairs) for name, pairs in every.items()},
        "more_than_longer": {name: interval(every[name], every["longer"]) for name in KINDS},
        "k_wise_more_than_pairs": interval(every["k-wise"], every["pairs"]),
        "of_similar_length": {
            "pairs": len(similar["longer"]),
            **{name: [round(share(pairs), 4), *interval(pairs)] for name, pairs in similar.items()},
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("model")
    parser.add_argument("--recipe", nargs="*", default=[], metavar="key=value", help="change the recipe")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--batch", type=int, default=8, help="rankings in an update")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--home", help="keep the runs here")
    args = parser.parse_args()
    from transformers import AutoTokenizer

    records = rankings(Path(args.data), AutoTokenizer.from_pretrained(args.model))
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(args.home or temporary).absolute()
        home.mkdir(exist_ok=True, parents=True)
        os.environ["WORKBENCH_HOME"] = str(home)
        seeds = {int(seed): measure(records, int(seed), home, args) for seed in args.seeds.split(",")}
    print(json.dumps({"prompts": len(records), "seeds": seeds}, indent=1))


if __name__ == "__main__":
    main()
