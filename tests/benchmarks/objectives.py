"""Every pre-training objective for a few minutes: better than at its start, and than a trivial baseline?

Trains the preset of each objective on the same text and compares held-out losses: before the first step,
at the best evaluation, and of the unigram model (counts of the training targets, smoothed; it copies what
masked language modelling leaves in sight), which is given the very same held-out targets. A
discriminator's baseline is always answering the base rate.

    python tests/benchmarks/objectives.py FILE|stdlib: [--presets nano bert-nano …] [--set key.path=value …]

Prints JSON. `--home DIR` keeps the runs, to look at them with `workbench --home DIR`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from workbench import paths, recipe
from workbench.models.context import context_of
from workbench.objectives import OBJECTIVES, Rows
from workbench.store import launch
from workbench.store.metrics import read_metrics
from workbench.store.runs import Run, create_run
from workbench.training.prepare import prepare_recipe
from workbench.training.starting_model import row_length

PRESETS = ("nano", "bert-nano", "xlnet-nano", "electra-nano", "t5-nano")
TARGETS = ("targets", "labels")
ROWS = 16


def targets_of(rows: Rows, count: int, masked: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The targets of the first `count` rows and, if they are `masked`, what stands in their places."""
    found, shown = [], []
    for start in range(0, count, ROWS):
        arrays = rows.batch(start, min(ROWS, count - start)).arrays
        targets = next(arrays[name] for name in TARGETS if name in arrays)
        found.append(targets[targets != -100])
        shown.append(arrays["input_ids"][targets != -100] if masked else found[-1])
    return np.concatenate(found), np.concatenate(shown)


def unigram_loss(objective: Any, run: Run) -> float:
    """Nats a held-out target of the smoothed counts of the training targets.

    Masked language modelling leaves some targets in sight, most of them as they are: there the baseline
    answers with what it sees, as often as that is right.
    """
    wanted = run.recipe()
    length = row_length(wanted, context_of(wanted.model))
    prepared = prepare_recipe(wanted, length, lambda what, done, total: None)
    objective = type(objective)(wanted, prepared.tokenizer)
    train = objective.rows(prepared.train, length, training=True)
    held_out = objective.rows(prepared.eval, length, training=False)
    batch = wanted.training.per_device_train_batch_size
    masked = objective.name == "mlm"
    seen, _ = targets_of(train, min(train.rows_per_epoch(0), 32_000), masked)
    asked, shown = targets_of(
        held_out, min(held_out.rows_per_epoch(0), (wanted.training.max_eval_batches or 64) * batch), masked
    )
    counts = np.bincount(seen, minlength=int(max(seen.max(), asked.max())) + 1) + 1.0
    chances = counts[asked] / counts.sum()
    if masked:
        randoms = wanted.objective.random_replace_prob
        kept = 1 - wanted.objective.mask_replace_prob - randoms
        share = kept / (kept + randoms) if kept else 0.0
        visible = shown != objective.mask_id
        chances = np.where(visible, share * (shown == asked) + (1 - share) * chances, chances)
    return float(-np.log(chances).mean())


def train(preset: str, text: str, overrides: list[str]) -> tuple[Run, float]:
    """Train a preset on a text to its end; the run and its seconds."""
    fixed = [f"data.sources=['{text}']", "training.eval_on_start=true"]
    run = create_run(recipe.load(preset, [*fixed, *overrides]), preset)
    began = time.monotonic()
    launch.start(run)
    state = launch.wait(run, 3600)
    assert state == "finished", f"{preset}: {state}: {run.status().message}"
    return run, time.monotonic() - began


def measure(preset: str, text: str, overrides: list[str]) -> dict[str, Any]:
    """Train, and put the numbers beside each other."""
    run, seconds = train(preset, text, overrides)
    tail = read_metrics(run.metrics_path)
    names = [
        name for name in tail.names if name.startswith("eval_") or name in ("perplexity", "pseudo_perplexity")
    ]
    first, last = {}, {}
    for name in names:
        values = tail.series(name)[1].tolist()
        first[name], last[name] = values[0], values[-1]
    wanted = run.recipe()
    kind: Any = OBJECTIVES[wanted.objective.name]
    unigram = unigram_loss(kind.__new__(kind), run)
    result: dict[str, Any] = {
        "preset": preset,
        "objective": wanted.objective.name,
        "seconds": round(seconds, 1),
        "steps": run.status().step,
        "parameters": run.status().num_parameters,
        "start": first,
        "end": last,
        "best_eval_loss": run.status().best_eval_loss,
        "unigram": unigram,
    }
    share = last.get("eval_replaced_share")
    if share:
        result["base_rate"] = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("text")
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--home", type=Path)
    parser.add_argument("--set", nargs="*", default=[], help="overrides, for all presets")
    options = parser.parse_args()
    text = options.text if options.text.endswith(":") else str(Path(options.text).resolve())
    with tempfile.TemporaryDirectory() as scratch:
        os.environ[paths.HOME_VARIABLE] = str((options.home or Path(scratch)).resolve())
        found = [measure(preset, text, options.set) for preset in options.presets]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
