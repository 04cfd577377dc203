"""A tiny recipe on text made here, and the curves of its runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.store.metrics import read_metrics
from workbench.store.runs import Run

SENTENCE = "the a cat dog sees hears green small house tree runs and then it was there for every long day"
WORDS = SENTENCE.split()
MakeRun = Callable[..., Run]


def text_of(seed: int, words: int) -> str:
    """Words in an order that a linear congruential generator gives, with full stops."""
    state, out = seed, []
    for number in range(words):
        state = (state * 1103515245 + 12345) % 2**31
        out.append(WORDS[state // 65536 % len(WORDS)] + ("." if number % 7 == 6 else ""))
    return " ".join(out)


def mapping(corpus: Path, **changes: Any) -> dict[str, Any]:
    """A tiny recipe; `training__max_steps=3` changes one key."""
    recipe: dict[str, Any] = {
        "model": {
            "vocab_size": 300,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32,
        },
        "data": {"sources": [str(corpus)], "eval_fraction": 0.1},
        "training": {
            "max_steps": 12,
            "per_device_train_batch_size": 4,
            "eval_steps": 5,
            "save_steps": 4,
            "warmup_steps": 2,
            "sample_prompts": ["the "],
            "sample_max_new_tokens": 6,
        },
        "launch": {"device": "cpu", "num_threads": 1},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        recipe.setdefault(section, {})[name] = value
    return recipe


def curve(run: Run, *names: str) -> dict[str, list[tuple[float, float]]]:
    """The series of a run as exact (step, value) pairs."""
    tail = read_metrics(run.metrics_path)
    result = {}
    for name in names or ("loss", "grad_norm", "learning_rate", "eval_loss", "num_tokens"):
        x, y = tail.series(name)
        result[name] = list(zip(x.tolist(), y.tolist(), strict=True))
    return result
