"""Tokenizers of each kind, trained in an instant on a few sentences."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from workbench.data.special_tokens import STYLES
from workbench.data.tokenizer import wrapped
from workbench.data.tokenizer_models import MODELS

SENTENCES = (
    "the quick brown fox jumps over the lazy dog and the dog sleeps",
    "a fine film with a slow start, and a dull film with a fine end",
    "who wrote the book that the old man read by the river in the long winter",
)
WORDS = " ".join(SENTENCES).replace(",", "").split()


@cache
def small_tokenizer(kind: str = "wordpiece", family: str = "bert", vocab_size: int = 400) -> Any:
    """A tokenizer with a family's special tokens."""
    special = STYLES[family]
    tokenizer, trainer = MODELS[kind](vocab_size, special)
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.post_processor = special.post_processor(tokenizer)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tokenizer.json"
        tokenizer.save(str(file))
        return wrapped(file, special)
