"""What pre-training is worth: the same recipe from a pre-trained encoder and from a random one of its size.

Fine-tunes a text classifier twice with the preset `classify`, once from ENCODER and once from random
weights of the same shape and with the same tokenizer, and gives both the same test file.

    python tests/benchmarks/pretraining_worth.py ENCODER --train T.tsv --dev D.tsv --test E.tsv [key=value …]

Files are tab-separated without a header: text, label. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from workbench import paths, recipe
from workbench.store import launch
from workbench.store.runs import create_run

SHAPE = {
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_hidden_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "max_position_embeddings": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "vocab_size": "vocab_size",
}


def fine_tune(preset: str, overrides: list[str], stem: str) -> tuple[Path, dict[str, Any]]:
    """Train a classifier to its end; its folder, and what its run says."""
    run = create_run(recipe.load(preset, overrides), stem)
    began = time.monotonic()
    launch.start(run)
    state = launch.wait(run, 7200)
    assert state == "finished", f"{state}: {run.status().message}\n{run.log_path.read_text()[-2000:]}"
    status = run.status()
    return run.final_path, {
        "seconds": round(time.monotonic() - began, 1),
        "steps": status.step,
        "parameters": status.num_parameters,
        "best_step": status.best_step,
    }


def evaluate(folder: Path, test: Path) -> dict[str, Any]:
    """The metrics of `workbench eval` on a file."""
    command = [sys.executable, "-m", "workbench", "eval", str(folder), str(test)]
    command += ["--columns", "text,label", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("encoder", type=Path)
    for name in ("train", "dev", "test"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--preset", default="classify")
    parser.add_argument("--home", type=Path)
    options, rest = parser.parse_known_args()
    config = json.loads((options.encoder / "config.json").read_text())
    source = [
        f"data.{side}=[{{path: '{path.resolve()}', columns: [text, label]}}]"
        for side, path in (("sources", options.train), ("eval_sources", options.dev))
    ]
    encoder = options.encoder.resolve()
    start = {
        "pre-trained": [f"model.model_name_or_path='{encoder}'"],
        "random": [
            f"model.tokenizer_name_or_path='{encoder}'",
            "model.model_name_or_path=null",
            f"model.family={config['model_type']}",
            *(f"model.{ours}={config[theirs]}" for ours, theirs in SHAPE.items() if theirs in config),
        ],
    }
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ[paths.HOME_VARIABLE] = str((options.home or Path(scratch)).resolve())
        for name, model in start.items():
            folder, told = fine_tune(options.preset, [*source, *model, *rest], name)
            found[name] = {**told, "test": evaluate(folder, options.test)}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
