"""From a predictor of film reviews to a writer of what people prefer: SFT, reward model, PPO, DPO, best of n.

    python tests/benchmarks/sentiment_alignment.py DATA ENCODER [--seeds 0,1,2] > sentiment.json

DATA has train.tsv, dev.tsv and test.tsv of SST-2 (sentence TAB 0 or 1, no header); ENCODER is a folder with a
small pre-trained encoder, such as all-MiniLM-L6-v2. For each seed, by the product's own worker throughout:

* a small decoder is pre-trained on the sentences of train.tsv, without labels: all that follows begins with
  it ("sft"); "sft-chosen" goes on with the positive sentences alone;
* rankings are made of the labels: sentences with a common first word, the positive ones above the others;
* a reward model learns the rankings; PPO raises its scores, less what `sentence_length` takes off for words
  that are missing to a whole sentence (without it answers shrink to a few words of praise, and PPO's guard
  ends the run); DPO learns the same rankings; "best-of-n" takes of n answers of "sft" the one with the
  highest score.

Each continues the first two words of sentences of test.tsv, which no model has seen. The judge is another
model than all of these: the encoder, trained on labels of dev.tsv and half of test.tsv, tested on the other
half. Reported: the share that it holds to be positive, the mean probability that it gives, nats per token
under "sft" (what is no sentence any more is unlikely there), length, how many answers differ, samples. With
--home DIR the runs are kept, and those that are there are not made again.
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
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Labelled = tuple[str, int]
WIDTH = 4
"""Answers in a ranking."""
NEW_TOKENS = 24
BEST_OF = (4, 16)


def read(path: Path) -> list[Labelled]:
    """Sentences with their labels."""
    lines = [line.rstrip("\n").split("\t") for line in path.open(encoding="utf-8")]
    return [(sentence, int(label)) for sentence, label in lines]


def write(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    """Records, one a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def split(sentence: str, count: int) -> tuple[str, str]:
    """The first words of a sentence, and the rest with the blank before it."""
    words = sentence.split(" ")
    head = " ".join(words[:count])
    return head, sentence[len(head) :]


def rankings(labelled: Sequence[Labelled], seed: int) -> list[dict[str, Any]]:
    """Up to `WIDTH` continuations of a first word, the positive ones first, all of both kinds."""
    groups = defaultdict(list)
    for sentence, label in labelled:
        prompt, rest = split(sentence, 1)
        if rest:
            groups[prompt].append((rest, label))
    draw, found = random.Random(seed), []
    for prompt, members in sorted(groups.items()):
        draw.shuffle(members)
        for start in range(0, len(members), WIDTH):
            part = members[start : start + WIDTH]
            if len({label for _, label in part}) == 2:
                completions, ranks = [rest for rest, _ in part], [2 - label for _, label in part]
                found.append({"prompt": prompt, "completions": completions, "ranks": ranks})
    draw.shuffle(found)
    return found


class Seed:
    """One seed: its runs, in a home of its own."""

    def __init__(self, args: argparse.Namespace, home: Path, seed: int) -> None:
        self.args, self.home, self.seed = args, home, seed
        self.seconds: dict[str, float] = {}

    def train(self, name: str, preset: str, *overrides: str) -> Path:
        """A run by the product's worker, to its end; the folder of its model."""
        from workbench import paths
        from workbench.recipe import load
        from workbench.store.runs import create_run

        kept = paths.runs_dir() / f"{name}-{self.seed}" / "final"
        if kept.is_dir():
            return kept
        common = [
            f"training.seed={self.seed}",
            f"launch.num_threads={self.args.threads}",
            "launch.device=cpu",
        ]
        run = create_run(load(preset, [*common, f"run.name={name}-{self.seed}", *overrides]), name)
        began = time.monotonic()
        with run.log_path.open("ab") as log:
            worker = subprocess.run(
                [sys.executable, "-m", "workbench.training", str(run.path)],
                stdout=log,
                stderr=log,
                check=False,
            )
        self.seconds[name] = round(time.monotonic() - began, 1)
        print(f"{name}-{self.seed}: {self.seconds[name]} s", file=sys.stderr, flush=True)
        if worker.returncode:
            raise SystemExit(f"{name}: {run.log_path.read_text()[-2000:]}")
        return run.final_path

    def last(self, name: str, *metrics: str) -> dict[str, float | None]:
        """Metrics of a run, the last of each."""
        from workbench.store.metrics import read_metrics
        from workbench.store.runs import find_run

        tail = read_metrics(find_run(f"{name}-{self.seed}").metrics_path)
        return {metric: tail.last(metric) for metric in metrics}


def judge_of(args: argparse.Namespace, home: Path) -> tuple[Path, float]:
    """The judge, and its accuracy on sentences that it has not seen."""
    data = Path(args.data)
    test = read(data / "test.tsv")
    random.Random(0).shuffle(test)
    learnt, held_out = read(data / "dev.tsv") + test[: len(test) // 2], test[len(test) // 2 :]

    def records(labelled: Sequence[Labelled]) -> list[dict[str, Any]]:
        return [{"text": text, "label": ("negative", "positive")[label]} for text, label in labelled]

    path = Seed(args, home, 0)
    folder = path.train(
        "judge",
        "classify",
        f"model.model_name_or_path={args.encoder}",
        f"data.sources=[{write(home / 'judge.jsonl', records(learnt))}]",
        f"data.eval_sources=[{write(home / 'judge-test.jsonl', records(held_out))}]",
    )
    accuracy = path.last("judge", "eval_accuracy")["eval_accuracy"]
    assert accuracy is not None
    return folder, accuracy


def align(path: Seed) -> dict[str, Path]:
    """All models of one seed."""
    args, home, seed = path.args, path.home, path.seed
    labelled = read(Path(args.data) / "train.tsv")
    texts = write(home / "sentences.jsonl", [{"text": sentence} for sentence, _ in labelled])
    preferences = write(home / f"rankings-{seed}.jsonl", rankings(labelled, seed))
    prompts = sorted({split(sentence, 2)[0] for sentence, _ in labelled})
    asked = write(home / "prompts.jsonl", [{"prompt": prompt} for prompt in prompts])
    positive = [split(sentence, 1) for sentence, label in labelled if label]
    chosen = [{"prompt": prompt, "completion": rest} for prompt, rest in positive if rest]
    sft = path.train(
        "sft", "models/nano", f"data.sources=[{texts}]", "data.max_length=64",
        "model.hidden_size=192", "model.num_hidden_layers=4", "model.num_attention_heads=6",
        "model.num_key_value_heads=6", "model.max_position_embeddings=128", "model.dropout=0.2",
        "model.vocab_size=8192", "training.max_steps=700", "training.per_device_train_batch_size=32",
        "training.learning_rate=2e-3", "training.warmup_steps=30", "data.eval_fraction=0.05",
        "training.eval_steps=100", "training.save_steps=100", *args.sft,
    )  # fmt: skip
    start = f"model.model_name_or_path={sft}"
    rest = ("training.gradient_accumulation_steps=1", "data.max_length=64", "training.save_steps=1000")
    found = {"sft": sft}
    found["sft-chosen"] = path.train(
        "sft-chosen", "sft", start, *rest,
        f"data.sources=[{write(home / 'chosen.jsonl', chosen)}]", "training.num_train_epochs=2",
        "training.per_device_train_batch_size=32", "training.learning_rate=5e-4", "data.eval_fraction=0.05",
        "training.load_best_model_at_end=false",  # by loss it would be one of the first steps
    )  # fmt: skip
    ranked = (f"data.sources=[{preferences}]", "training.per_device_train_batch_size=16")
    reward = path.train(
        "reward", "reward", start, *ranked, *rest,
        "training.learning_rate=5e-4", "training.num_train_epochs=3",
        "training.per_device_eval_batch_size=32", "training.eval_steps=20", "data.eval_fraction=0.15",
        "training.metric_for_best_model=accuracy", *args.reward,
    )  # fmt: skip
    found["dpo"] = path.train(
        "dpo", "dpo", start, *ranked, *rest, "training.learning_rate=2e-4", "training.num_train_epochs=3",
        "training.per_device_eval_batch_size=32", "training.eval_steps=50", "data.eval_fraction=0.05",
        *args.dpo,
    )  # fmt: skip
    found["ppo"] = path.train(
        "ppo", "ppo", start, f"ppo.reward_model_path={reward}", f"data.sources=[{asked}]",
        "data.max_length=64", f"ppo.response_length={NEW_TOKENS}", "ppo.local_rollout_forward_batch_size=128",
        "training.per_device_train_batch_size=32", "training.gradient_accumulation_steps=1",
        "training.max_steps=80", "training.learning_rate=1e-4", "training.save_steps=1000",
        "ppo.reward_function=sentence_length:long_enough", f"ppo.reward_path={Path(__file__).parent}",
        "ppo.kl_coef=0.6", "ppo.kl_target=6.0", "ppo.kl_horizon=2000", "training.eval_steps=20", *args.ppo,
    )  # fmt: skip
    return {**found, "reward": reward}


def measure(path: Seed, models: dict[str, Path], judge: Path) -> dict[str, dict[str, Any]]:
    """What each model writes, and what the judge makes of it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(path.args.threads)
    test = read(Path(path.args.data) / "test.tsv")
    prompts = sorted({split(sentence, 2)[0] for sentence, _ in test})
    random.Random(path.seed).shuffle(prompts)
    prompts = prompts[: path.args.prompts]
    scorer = AutoModelForSequenceClassification.from_pretrained(judge).eval()
    reader = AutoTokenizer.from_pretrained(judge)
    positive = scorer.config.label2id["positive"]

    @torch.inference_mode()
    def judged(texts: list[str]) -> list[float]:
        chances = []
        for first in range(0, len(texts), 64):
            inputs = reader(texts[first : first + 64], return_tensors="pt", padding=True, truncation=True)
            chances += scorer(**inputs).logits.softmax(-1)[:, positive].tolist()
        return chances

    written = {
        name: answers(models[name], prompts, 1, path.seed) for name in ("sft", "sft-chosen", "dpo", "ppo")
    }
    many = answers(models["sft"], prompts, max(BEST_OF), path.seed + 1)
    scores = rewards(models["reward"], many)
    for n in BEST_OF:
        written[f"best-of-{n}"] = [
            max(zip(own_scores[:n], own[:n], strict=True))[1]
            for own_scores, own in zip(grouped(scores), grouped(many), strict=True)
        ]
    found = {}
    for name, texts in written.items():
        chances = judged(texts)
        found[name] = {
            "positive": sum(chance > 0.5 for chance in chances) / len(chances),
            "probability": sum(chances) / len(chances),
            "reward": sum(rewards(models["reward"], texts)) / len(texts),
            "nats_per_token_under_sft": likelihood(models["sft"], texts),
            "words": sum(len(text.split()) for text in texts) / len(texts),
            "distinct": len(set(texts)) / len(texts),
            "samples": texts[:6],
        }
    return found


def grouped(values: list[Any]) -> list[list[Any]]:
    """Those of each prompt together."""
    width = max(BEST_OF)
    return [values[first : first + width] for first in range(0, len(values), width)]


def answers(folder: Path, prompts: list[str], count: int, seed: int) -> list[str]:
    """`count` whole texts for each prompt, drawn at temperature 1 from all of the distribution."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
    torch.manual_seed(seed)
    found = []
    for first in range(0, len(prompts), 64):
        inputs = tokenizer(
            prompts[first : first + 64], return_tensors="pt", padding=True, return_token_type_ids=False
        )
        with torch.inference_mode():
            output = model.generate(
                **inputs, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=NEW_TOKENS,
                num_return_sequences=count, pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
        found += tokenizer.batch_decode(output, skip_special_tokens=True)
    return found


def rewards(folder: Path, texts: list[str]) -> list[float]:
    """Scores of whole texts by the reward model."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    found: list[float] = []
    for first in range(0, len(texts), 64):
        part = [text + tokenizer.eos_token for text in texts[first : first + 64]]
        inputs = tokenizer(part, return_tensors="pt", padding=True, return_token_type_ids=False)
        with torch.inference_mode():
            found += model(**inputs).logits[:, 0].tolist()
    return found


def in_order(folder: Path, labelled: Sequence[Labelled]) -> float:
    """Pairs of a positive and a negative sentence in which the positive one has the higher score."""
    from scipy.stats import mannwhitneyu

    scores = rewards(folder, [sentence for sentence, _ in labelled])
    good, bad = (
        [score for score, (_, label) in zip(scores, labelled, strict=True) if label == kind]
        for kind in (1, 0)
    )
    return float(mannwhitneyu(good, bad).statistic) / (len(good) * len(bad))


def likelihood(folder: Path, texts: list[str]) -> float:
    """Nats per token of texts under a model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    total = count = 0.0
    for text in texts:
        ids = tokenizer(text, return_tensors="pt", return_token_type_ids=False)["input_ids"]
        if ids.shape[1] > 1:
            with torch.inference_mode():
                total += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
            count += ids.shape[1] - 1
    return total / max(count, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("encoder")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--home", help="keep the runs here")
    for name in ("sft", "reward", "dpo", "ppo"):
        parser.add_argument(f"--{name}", nargs="*", default=[], metavar="key=value", help="change its recipe")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(args.home or temporary).absolute()
        home.mkdir(exist_ok=True, parents=True)
        os.environ["WORKBENCH_HOME"] = str(home)
        judge, accuracy = judge_of(args, home)
        result: dict[str, Any] = {"judge_accuracy": accuracy, "seeds": {}}
        for seed in map(int, args.seeds.split(",")):
            path = Seed(args, home, seed)
            models = align(path)
            result["seeds"][seed] = {
                "models": measure(path, models, judge),
                "ppo": path.last("ppo", "eval_kl", "objective/kl", "objective/kl_coef"),
                "reward_accuracy": in_order(models["reward"], read(Path(args.data) / "dev.tsv")),
                "seconds": path.seconds,
            }
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
