"""Prompts with ranked answers made here, and a tiny decoder that scores them."""

from __future__ import annotations

from typing import Any

import torch
from family_templates import OWN, tokenizer_of
from transformers import LlamaConfig, LlamaForSequenceClassification

from workbench.data.records import PreferenceStore, Record
from workbench.data.records.preference_encoding import encode_preferences
from workbench.data.records.preferences import comparison
from workbench.data.ticker import Ticker

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
LENGTH = 160


def rankings(count: int, answers: int = 0) -> list[dict[str, Any]]:
    """Prompts with two to four answers (or so many) of uneven length; those with more nines are better."""
    found = []
    for number in range(count):
        size = answers or 2 + number % 3
        said = [
            " ".join(
                [WORDS[(number + place) % 8], *["nine"] * (size - place), *WORDS[: place * (number % 3)]]
            )
            for place in range(size)
        ]
        ranks = list(range(1, size + 1))
        if size == 4 and not answers:
            ranks[2] = 2
        found.append({"prompt": f"say {WORDS[number % 10]} {number}", "completions": said, "ranks": ranks})
    return found


def store_of(records: list[dict[str, Any]], tokenizer: Any, side: str = "train") -> PreferenceStore:
    """The store of rankings or pairs."""
    checked = [comparison(Record(record, f"r.jsonl:{n}")) for n, record in enumerate(records, 1)]
    return encode_preferences(checked, tokenizer, LENGTH, side, Ticker(lambda *_: None, ""))


def chat_tokenizer() -> Any:
    """SmolLM2's template on bytes; it pads with the token that ends a turn, as the real one does."""
    tokenizer = tokenizer_of("smollm2", OWN["smollm2"])
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def small_config(tokenizer: Any, **changes: Any) -> LlamaConfig:
    """Two layers of 32."""
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    return LlamaConfig(**(sizes | changes))


def scorer(tokenizer: Any, **changes: Any) -> Any:
    """A model of `small_config` with one score."""
    torch.manual_seed(0)
    return LlamaForSequenceClassification(small_config(tokenizer, id2label={0: "reward"}, **changes)).eval()
