"""A trained decoder against a bigram model on the same held-out tokens.

Trains a preset on a file of text for at most ten minutes, then gives the bigram model (counts of the
training tokens, interpolated with the unigram and uniform distributions by the weights that suit the
held-out text best, which favours the bigram) and the decoder the same held-out targets.

    python tests/benchmarks/bigram.py TEXT_FILE [--preset nano]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench import paths, recipe
from workbench.data import PackedRows, prepare
from workbench.store import launch
from workbench.store.metrics import read_metrics
from workbench.store.runs import create_run


def pairs(rows: PackedRows, count: int) -> NDArray[np.int64]:
    """[n, 2] of a token and the target that follows it, over `count` rows."""
    batch = rows.batch(0, count)
    known = batch.targets != -100
    return np.stack([batch.input_ids[known], batch.targets[known]], axis=1)


def bigram_loss(train: NDArray[np.int64], held_out: NDArray[np.int64], vocabulary: int) -> dict[str, float]:
    """Nats a token of the best interpolation on a grid."""
    counts = np.zeros((vocabulary, vocabulary))
    np.add.at(counts, (train[:, 0], train[:, 1]), 1)
    unigram = counts.sum(0) / counts.sum()
    of_pair = counts[held_out[:, 0], held_out[:, 1]] / np.maximum(counts.sum(1), 1)[held_out[:, 0]]
    of_token = unigram[held_out[:, 1]]
    best = (np.inf, 0.0)
    for weight in np.linspace(0.02, 0.98, 49):
        mixture = weight * of_pair + (0.999 - weight * 0.999) * of_token + (1 - weight) * 0.001 / vocabulary
        best = min(best, (float(-np.log(np.maximum(mixture, 1e-12)).mean()), float(weight)))
    smoothed = 0.999 * of_token + 0.001 / vocabulary
    return {"bigram": best[0], "bigram_weight": best[1], "unigram": float(-np.log(smoothed).mean())}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ[paths.HOME_VARIABLE] = home
        fixed = [f"data.sources=[{options.text.resolve()}]", "training.max_eval_batches=null"]
        resolved = recipe.load(options.preset, [*fixed, *options.overrides])
        run = create_run(resolved, "bigram")
        began = time.monotonic()
        launch.start(run)
        state = launch.wait(run, 1200)
        minutes = (time.monotonic() - began) / 60
        prepared = prepare(
            resolved.data,
            tokenizer_name_or_path=None,
            model_name_or_path=None,
            revision=None,
            trust_remote_code=False,
            vocab_size=resolved.model.vocab_size,
            seed=resolved.training.seed,
            cache=paths.cache_dir(),
            progress=lambda *_: None,
        )
        length = resolved.data.max_length or resolved.model.max_position_embeddings
        sides = [PackedRows(store, length) for store in (prepared.train, prepared.eval)]
        train, held_out = (pairs(rows, rows.rows_per_epoch(0)) for rows in sides)
        result: dict[str, Any] = bigram_loss(train, held_out, resolved.model.vocab_size)
        status = run.status()
        tail = read_metrics(run.metrics_path)
        steps, losses = tail.series("eval_loss")
        result |= {
            "state": state,
            "minutes": round(minutes, 2),
            "held_out_tokens": len(held_out),
            "decoder": status.best_eval_loss,
            "decoder_bits_per_byte": tail.last("bits_per_byte"),
            "gain_in_nats": result["bigram"] - (status.best_eval_loss or np.inf),
            "eval_curve": [[int(step), round(loss, 4)] for step, loss in zip(steps, losses, strict=True)],
        }
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
