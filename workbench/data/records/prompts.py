"""Prompts for a model to answer: from records of any shape that has some, what stands before the answer.

A conversation is cut before its last answer; of running text the first tokens are the prompt.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from workbench.data.artifact import key_of
from workbench.data.framing import frame_for
from workbench.data.records.columns import Columns
from workbench.data.records.conversations import Conversations
from workbench.data.records.dividing import divide
from workbench.data.records.prepare import PreparedRecords
from workbench.data.records.side import SideRecords, num_bytes, read_side
from workbench.data.records.store import ExampleStore
from workbench.data.ticker import TOKENISING, Progress, Ticker
from workbench.errors import DataError
from workbench.recipe import DataSection

OBJECTIVE = "ppo"


class PromptEncoder:
    """Checked records (`prompt_records.prompt`) as the tokens that a model reads before it answers.

    Messages, and prompts where the tokenizer has a chat template, end where the assistant begins to speak;
    others are plain text. `prompt_length` counts tokens of running text.
    """

    def __init__(self, tokenizer: Any, prompt_length: int) -> None:
        self.tokenizer, self.prompt_length = tokenizer, prompt_length
        self._talks = Conversations(tokenizer) if tokenizer.chat_template else None
        self._prefix = list(frame_for("clm", tokenizer).prefix)

    def __call__(self, record: Mapping[str, Any], where: str = "") -> list[int]:
        """The tokens. Raises `DataError`."""
        if "text" in record:
            return (self._prefix + self._plain(record["text"]))[: len(self._prefix) + self.prompt_length]
        prompt = record["prompt"]
        if isinstance(prompt, str) and self._talks is None:
            return self._prefix + self._plain(prompt)
        talks = self._talks or Conversations(self.tokenizer)
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return talks.opening(turns, record.get("tools", ()), where=where)

    def _plain(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return found


def prepare_prompts(
    data: DataSection,
    *,
    tokenizer: Any,
    prompt_length: int,
    max_length: int,
    seed: int,
    progress: Progress,
) -> PreparedRecords:
    """Read, check, split and tokenise prompts, in memory, as `prepare_records` does with labelled records.

    A prompt of more than `max_length` tokens is left out, for no part of it asks what all of it does; the
    report counts them as `too_long`. Raises `DataError`.
    """
    began = time.monotonic()
    read = read_side(data.sources, OBJECTIVE, progress)
    own = read_side(data.eval_sources, OBJECTIVE, progress)
    train, held_out, dropped, how = divide(read, own, data, OBJECTIVE, seed)
    encoder = PromptEncoder(tokenizer, prompt_length)
    stores = [
        _encoded(side, encoder, max_length, name, progress)
        for side, name in ((train, "train"), (held_out, "eval"))
    ]
    if not len(stores[0]):
        raise DataError(
            f"every prompt has more than {max_length:,} tokens, and is left out",
            where=", ".join(spec.path for spec in data.sources),
            hint="lower ppo.response_length, raise data.max_length, or use a model with a longer context",
        )
    weights = tuple(spec.weight for spec in data.sources)
    stores[0].weights = weights
    size = sum(num_bytes(record) for record in train.records)
    report: dict[str, Any] = {
        "documents": len(stores[0]),
        "tokens": stores[0].num_tokens,
        "bytes": size,
        "bytes_per_token": round(size / max(1, stores[0].num_tokens), 4),
        "eval_documents": len(stores[1]),
        "eval_tokens": stores[1].num_tokens,
        "eval_bytes": sum(num_bytes(record) for record in held_out.records),
        "split": how,
        "dropped_from_train": dropped,
        "blank_documents": read.blank + own.blank,
        "invalid_utf8": read.repaired + own.repaired,
        "cut_files": 0,
        "truncated": 0,
        "unanswered": 0,
        "cut_words": 0,
        "too_long": sum(store.truncated for store in stores),
        "longest": max((int(store.lengths.max()) for store in stores if len(store)), default=0),
        "vocab_size": len(tokenizer),
        "tokenizer": str(getattr(tokenizer, "name_or_path", "")),
        "sources": read.told,
        "eval_sources": own.told,
        "cached": False,
        "seconds": round(time.monotonic() - began, 3),
    }
    key = key_of([store.digest() for store in stores], max_length, weights, stores[0].source_digest())
    return PreparedRecords(key, (), tokenizer, stores[0], stores[1], report)


def _encoded(
    side: SideRecords, encoder: PromptEncoder, max_length: int, name: str, progress: Progress
) -> ExampleStore:
    ticker, columns, lost = Ticker(progress, TOKENISING, len(side)), Columns(), 0
    for number, record in enumerate(side.records):
        ids = encoder(record, side.places[number])
        if 0 < len(ids) <= max_length:
            columns.add(SimpleNamespace(ids=ids), number, False)
        else:
            lost += 1
        ticker.add(1)
    ticker.finish()
    store = columns.store(name, (), side.records, encoder.tokenizer, max_length, truncated=lost)
    store.sources = np.array(side.sources, np.uint16)[store.examples]
    return store


def user_text(record: Mapping[str, Any]) -> str:
    """What was asked, as text: the last message that is not the assistant's, of a conversation."""
    if "text" in record:
        return str(record["text"])
    prompt: str | Sequence[Mapping[str, Any]] = record["prompt"]
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])
