"""A small decoder trained on rows of 256 tokens, read at 1,024: by each method of extension, before and after
fine-tuning at the new length. Perplexity by position on held-out files, and pass keys by depth and length.

    python tests/benchmarks/long_context_extension.py > long_context.json             30 to 40 minutes on two
    cores python tests/benchmarks/long_context_extension.py --steps 60 --tune-steps 10 --windows 4 --trials 2

It learns the standard library's sources and, mixed in, texts with a pass key of at most 256 tokens: from
plain text alone a model this small finds no key at any length. Fine-tuning sees pass keys of up to 1,024
tokens. As control, the model is trained on for as many tokens at 256. All of it goes through the command
line, as a person would do it, in a home of its own that `--home` keeps: run again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.data.stdlib import stdlib_files

METHODS = ("linear", "ntk", "dynamic", "yarn")
HELD_OUT = 12
"""One file in so many is held out, the same on every machine with this Python."""


class Bench:
    """The commands, in one home."""

    def __init__(self, args: argparse.Namespace, home: Path) -> None:
        self.args, self.home = args, home
        self.environment = {**os.environ, "WORKBENCH_HOME": str(home), "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
        self.text, self.held_out = home / "text", home / "held-out"
        self.seconds: dict[str, float] = {}

    def command(self, *words: object, what: str = "") -> str:
        """Run `workbench …`; its standard output. Ends the program where it fails."""
        began = time.monotonic()
        line = [sys.executable, "-m", "workbench", *map(str, words)]
        print("workbench", *map(str, words), file=sys.stderr, flush=True)
        done = subprocess.run(line, env=self.environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"failed: {' '.join(map(str, words))}")
        if what:
            self.seconds[what] = round(time.monotonic() - began, 1)
        return done.stdout

    def split(self) -> None:
        """Copy the standard library into files to learn from and files to be asked about."""
        if self.held_out.is_dir():
            return
        root = Path(os.path.commonpath([str(path.parent) for path in stdlib_files()]))
        for path in stdlib_files():
            name = path.relative_to(root).as_posix()
            side = self.held_out if zlib.crc32(name.encode()) % HELD_OUT == 0 else self.text
            target = side / name.replace("/", ".")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    def keys(self, name: str, longest: int, count: int, seed: int) -> Path:
        """A file of pass keys hidden in the text that is learnt from."""
        path = self.home / f"{name}.jsonl"
        if not path.is_file():
            given = (
                "--tokenizer",
                self.home / "tokenizer",
                "--data",
                self.text,
                "--digits",
                self.args.digits,
            )
            size = ("--length", f"48-{longest}", "--count", count, "--seed", seed)
            self.command("context", "passkeys", path, *given, *size)
        return path

    def train(
        self, name: str, preset: str, keys: Path, steps: int, rows: int, length: int, *more: str
    ) -> None:
        """A run, unless it has finished already."""
        if (self.home / "runs" / name / "final").is_dir():
            return
        shutil.rmtree(self.home / "runs" / name, ignore_errors=True)
        sources = f"[{self.text}, {{path: {keys}, weight: {self.args.weight}}}]"
        overrides = [
            f"data.sources={sources}",
            "data.eval_fraction=0.0",
            f"data.max_length={length}",
            f"training.max_steps={steps}",
            f"training.per_device_train_batch_size={rows}",
            "training.gradient_accumulation_steps=1",
            "training.gradient_checkpointing=false",
            "training.sample_prompts=[]",
            "training.save_total_limit=1",
            f"training.save_steps={steps}",
            *more,
        ]
        if self.args.threads:
            overrides.append(f"launch.num_threads={self.args.threads}")
        self.command("train", preset, *overrides, "--name", name, what=name)

    def evaluate(self, run: str, *options: object) -> dict[str, Any]:
        """The result of `workbench context eval`."""
        lengths = ",".join(str(length) for length in self.lengths)
        given: list[object] = ["--lengths", lengths, "--data", self.held_out, "--windows", self.args.windows]
        given += ("--trials", self.args.trials, "--depths", self.args.depths, "--digits", self.args.digits)
        words = ("context", "eval", run, *options, *given, "--style", "text", "--json")
        found: dict[str, Any] = json.loads(self.command(*words, what=f"evaluation of {run}"))
        return found

    @property
    def lengths(self) -> list[int]:
        trained, longest = self.args.trained, int(self.args.trained * self.args.factor)
        found = [trained]
        while found[-1] * 2 < longest:
            found.append(found[-1] * 2)
        return [*found, longest]


def run(bench: Bench) -> dict[str, Any]:
    """Everything; what was found."""
    args = bench.args
    trained, longest = args.trained, int(args.trained * args.factor)
    bench.split()
    if not (bench.home / "tokenizer").is_dir():
        words = ("data", "tokenizer", "nano", f"data.sources=[{bench.text}]", "--vocab-size", 2048)
        bench.command(*words, "--output", bench.home / "tokenizer")
    short = bench.keys("keys-short", trained - 8, args.keys, 1)
    long = bench.keys("keys-long", longest - 8, max(20, args.keys // 8), 2)
    shape = (
        f"model.tokenizer_name_or_path={bench.home / 'tokenizer'}",
        f"model.max_position_embeddings={trained}",
        "training.learning_rate=3e-3",
        "training.warmup_steps=100",
    )
    bench.train("base", "nano", short, args.steps, args.rows, trained, *shape)
    evaluations = {"base": bench.evaluate("base", "--rope-scaling", "all", "--rope-factor", args.factor)}
    base = f"model.model_name_or_path={bench.home / 'runs' / 'base' / 'final'}"
    tuning = (base, "training.learning_rate=3e-4", "training.warmup_steps=20")
    plain = ("model.rope_scaling=null", "model.rope_factor=null")
    bench.train("more", "extend", short, args.tune_steps, args.rows, trained, *tuning, *plain)
    evaluations["more"] = bench.evaluate("more")
    rows = max(1, round(args.rows / args.factor))
    for method in METHODS:
        own = (f"model.rope_scaling={method}", f"model.rope_factor={args.factor}")
        bench.train(method, "extend", long, args.tune_steps, rows, longest, *tuning, *own)
        evaluations[method] = bench.evaluate(method)
    print(
        bench.command("context", "show", "base", *(name for name in evaluations if name != "base")),
        file=sys.stderr,
    )
    return {
        "settings": vars(args),
        "seconds": bench.seconds,
        "evaluations": evaluations,
        **summary(evaluations),
    }


def summary(evaluations: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Perplexity by position and keys found, by method, before and after."""
    before = {variant["method"]: variant for variant in evaluations["base"]["variants"]}
    after = {"none" if name == "more" else name: found["variants"][0] for name, found in evaluations.items()}
    after.pop("base")
    return {
        "positions": {
            word: {
                method: [round(2.718281828 ** p["nll"], 3) for p in variant["positions"]]
                for method, variant in side.items()
            }
            for word, side in (("before", before), ("after", after))
        },
        "keys_found": {
            word: {method: _keys(variant["passkeys"]) for method, variant in side.items()}
            for word, side in (("before", before), ("after", after))
        },
    }


def _keys(cells: Sequence[dict[str, Any]]) -> dict[int, float]:
    """The share of keys found at each length, all depths together."""
    found: dict[int, list[int]] = {}
    for cell in cells:
        hits = found.setdefault(cell["length"], [0, 0])
        hits[0] += cell["exact"]
        hits[1] += cell["trials"]
    return {length: round(hits / trials, 3) for length, (hits, trials) in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="where everything is kept; a temporary folder if not given")
    parser.add_argument("--trained", type=int, default=256, help="tokens of a row at first")
    parser.add_argument("--factor", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=4000, help="of training at first")
    parser.add_argument("--tune-steps", type=int, default=300, help="of training at the new length")
    parser.add_argument("--rows", type=int, default=16, help="of a step, of the trained length")
    parser.add_argument("--keys", type=int, default=24_000, help="texts with pass keys")
    parser.add_argument("--weight", type=float, default=2.0, help="of the texts with pass keys")
    parser.add_argument("--digits", type=int, default=5)
    parser.add_argument("--windows", type=int, default=48)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--depths", type=int, default=5)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = (args.home or Path(temporary)).absolute()
        home.mkdir(parents=True, exist_ok=True)
        found = run(Bench(args, home))
        found["settings"]["home"] = None
        print(json.dumps(found, indent=1, default=str))


if __name__ == "__main__":
    main()
