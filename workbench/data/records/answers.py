"""Conversations, and prompts with completions, as rows: of a conversation only what the assistant says is to
be predicted."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from workbench.data.records.columns import Columns
from workbench.data.records.conversations import Conversations, Rendered
from workbench.data.records.store import NO_TARGET, ExampleStore
from workbench.data.ticker import Ticker
from workbench.errors import DataError


def encode_answers(
    records: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    max_length: int,
    side: str,
    ticker: Ticker,
    places: Sequence[str] = (),
) -> ExampleStore:
    """Records as `turns.sft` makes them, as rows of at most `max_length` tokens; `token_labels` are the
    tokens that are to be predicted, NO_TARGET elsewhere.

    What is longer loses its end, which is counted as `truncated`; a row of which nothing is left to predict
    is left out, and counted as `unanswered`. Raises `DataError` naming the place of a record.
    """
    columns, labels, cut, lost = Columns(), array("q"), 0, 0
    render = Renderer(tokenizer)
    for number, record in enumerate(records):
        found = render(record, places[number] if places else "")
        cut += len(found.ids) > max_length
        ids, supervised = found.ids[:max_length], found.supervised[:max_length]
        # The first token is predicted from nothing.
        if any(supervised[1:]):
            columns.add(SimpleNamespace(ids=ids), number, False)
            labels.extend(
                token if wanted else NO_TARGET for token, wanted in zip(ids, supervised, strict=True)
            )
        else:
            lost += 1
        ticker.add(1)
    store = columns.store(
        side,
        (),
        list(records),
        tokenizer,
        max_length,
        token_labels=np.frombuffer(labels, np.int64),
        truncated=cut,
        unanswered=lost,
    )
    # Attention is causal, so what stands behind a row needs no mask.
    store.left_padded = False
    return store


class Renderer:
    """Renders records with one tokenizer: through its chat template, or, of prompts with completions that
    are text, without one as plain text."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._talks = Conversations(tokenizer) if tokenizer.chat_template else None

    def __call__(self, record: Mapping[str, Any], where: str = "") -> Rendered:
        """The tokens of a checked record, and which are to be predicted. Raises `DataError`."""
        if "messages" not in record:
            prompt, completion = record["prompt"], record["completion"]
            if self._talks is None:
                return plain_row(prompt, completion, self.tokenizer, where)
            turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
            return self._talks.render(turns, first=1, where=where)
        talks = self._talks or Conversations(self.tokenizer)
        return talks.render(record["messages"], record["tools"], first=record["first"], where=where)


def plain_row(prompt: str, completion: str, tokenizer: Any, where: str = "") -> Rendered:
    """Prompt, completion and the end of text, tokenised together, for apart they may give other tokens.

    Raises `DataError` where one token lies across the boundary.
    """
    whole = prompt + completion + (tokenizer.eos_token or "")
    found = tokenizer(whole, return_offsets_mapping=True, verbose=False)
    ids, spans = list(found["input_ids"]), found["offset_mapping"]
    supervised = [stop > start and start >= len(prompt) for start, stop in spans]
    across = next((n for n, (start, stop) in enumerate(spans) if start < len(prompt) < stop), None)
    if across is not None:
        raise DataError(
            f"one token, “{tokenizer.decode([ids[across]])}”, holds the end of the prompt “…{prompt[-30:]}” "
            f"and the beginning of the completion “{completion[:30]}…”",
            where=where,
            hint="begin the completion with a blank, or end the prompt with a new line",
        )
    return Rendered(ids, supervised)


def prompt_text(prompt: str, tokenizer: Any) -> str:
    """A prompt as the model reads it before it answers."""
    if not tokenizer.chat_template:
        return prompt
    turn = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
