"""Prompts with completions as rows, of which only the completion is to be predicted."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from workbench.data.records.columns import Columns
from workbench.data.records.store import NO_TARGET, ExampleStore
from workbench.data.ticker import Ticker
from workbench.errors import DataError


def encode_completions(
    records: Sequence[Mapping[str, Any]], tokenizer: Any, max_length: int, side: str, ticker: Ticker
) -> ExampleStore:
    """Checked records as rows of at most `max_length` tokens; `token_labels` are the tokens of completions,
    NO_TARGET in prompts. What is longer loses its end, and a row whose completion is lost is left out; both
    are counted as `truncated`. Raises `DataError` where prompt and completion cannot be told apart."""
    columns, labels, cut = Columns(), array("q"), 0
    for number, record in enumerate(records):
        ids, supervised = row_of(record["prompt"], record["completion"], tokenizer)
        cut += len(ids) > max_length
        ids, supervised = ids[:max_length], supervised[:max_length]
        if any(supervised):
            columns.add(SimpleNamespace(ids=ids), number, False)
            labels.extend(
                token if wanted else NO_TARGET for token, wanted in zip(ids, supervised, strict=True)
            )
        ticker.add(1)
    store = columns.store(
        side,
        (),
        list(records),
        tokenizer,
        max_length,
        token_labels=np.frombuffer(labels, np.int64),
        truncated=cut,
    )
    # Attention is causal, so what stands behind a row needs no mask.
    store.left_padded = False
    return store


def row_of(prompt: str, completion: str, tokenizer: Any) -> tuple[list[int], list[bool]]:
    """The tokens of prompt and completion, through the chat template where there is one, else as plain text
    with the end of text behind it; and which of them are to be predicted: the completion and its end.

    Both are tokenised together, for apart they may give other tokens. Raises `DataError` where the template
    renders them so that the prompt is no beginning of the whole, or one token lies across the boundary.
    """
    end = tokenizer.eos_token or ""
    if tokenizer.chat_template:
        begun = prompt_text(prompt, tokenizer)
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
        whole = str(tokenizer.apply_chat_template(turns, tokenize=False))
        if not whole.startswith(begun):
            raise DataError(
                "the chat template renders a prompt otherwise when an answer follows it",
                where=str(getattr(tokenizer, "name_or_path", "")),
                hint="use a model whose template keeps what came before",
            )
        # What templates write behind the end of a turn belongs to the next.
        after = whole.rfind(end, len(begun) + len(completion)) if end else -1
        whole = whole[: after + len(end)] if after >= 0 else whole
    else:
        begun, whole = prompt, prompt + completion + end
    found = tokenizer(
        whole, add_special_tokens=not tokenizer.chat_template, return_offsets_mapping=True, verbose=False
    )
    ids, places = list(found["input_ids"]), found["offset_mapping"]
    supervised = [stop > start and start >= len(begun) for start, stop in places]
    across = next((n for n, (start, stop) in enumerate(places) if start < len(begun) < stop), None)
    if across is not None:
        raise DataError(
            f"one token, “{tokenizer.decode([ids[across]])}”, holds the end of the prompt and the "
            "beginning of the completion",
            where=f"“…{prompt[-30:]}” and “{completion[:30]}…”",
            hint="begin the completion with a blank, or end the prompt with a new line",
        )
    return ids, supervised


def prompt_text(prompt: str, tokenizer: Any) -> str:
    """A prompt as the model reads it before it answers."""
    if not tokenizer.chat_template:
        return prompt
    turn = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
