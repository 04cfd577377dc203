"""From checked preferences to a `PreferenceStore`: each answer rendered whole behind its prompt."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from workbench.data.records.answers import Renderer
from workbench.data.records.preference_store import PreferenceStore
from workbench.data.records.preferences import Answer
from workbench.data.ticker import Ticker
from workbench.errors import DataError

CUTS = {"dpo": True, "reward": False}
"""What becomes of answers that do not fit, as in TRL: DPO learns from their beginning (`max_length`,
`keep_start`); a reward model would learn that a broken answer is good, so they are left out."""


class Split(NamedTuple):
    """Tokens of a prompt, those of one answer to it, and which of these the assistant says."""

    prompt: list[int]
    answer: list[int]
    mask: list[bool]


class AnswerRenderer:
    """Prompts and answers as tokens, by one tokenizer and its chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self._render = Renderer(tokenizer)
        self.stripped = 0

    def __call__(self, record: Mapping[str, Any], answer: Answer, where: str = "") -> Split:
        """One answer behind the prompt of a checked record, up to the end of its last turn.

        Where the blanks that an answer begins with would melt into one token with the end of the prompt, they
        are taken off, and counted as `stripped`: a model that writes cannot make such a token either. Raises
        `DataError`.
        """
        try:
            return self._split(record, answer, where)
        except DataError:
            bare = _without_blanks(answer)
            if bare is None:
                raise
        found = self._split(record, bare, where)
        self.stripped += 1
        return found

    def _split(self, record: Mapping[str, Any], answer: Answer, where: str) -> Split:
        prompt = record["prompt"]
        if isinstance(answer, str):
            row: dict[str, Any] = {"prompt": prompt, "completion": answer}
        else:
            row = {"messages": [*prompt, *answer], "first": len(prompt), "tools": record["tools"]}
        ids, supervised = self._render(row, where)
        begin = supervised.index(True)
        end = len(supervised) - supervised[::-1].index(True)
        return Split(ids[:begin], ids[begin:end], supervised[begin:end])


def _without_blanks(answer: Answer) -> Answer | None:
    """The answer without the blanks it begins with; None where it begins with none."""
    text = answer if isinstance(answer, str) else answer[0]["content"]
    bare = text.lstrip()
    if bare == text or not bare:
        return None
    return bare if isinstance(answer, str) else [{**answer[0], "content": bare}, *answer[1:]]


def is_blank(answer: Answer) -> bool:
    """Whether an answer says nothing and calls no tool."""
    if isinstance(answer, str):
        return not answer.strip()
    said = [message for message in answer if message["role"] == "assistant"]
    return not any(message["content"].strip() or message.get("tool_calls") for message in said)


@dataclass
class _Columns:
    """Elements as they come, one behind the other."""

    prompt_ids: array[int] = field(default_factory=lambda: array("i"))
    prompt_offsets: array[int] = field(default_factory=lambda: array("q", [0]))
    answer_ids: array[int] = field(default_factory=lambda: array("i"))
    answer_mask: bytearray = field(default_factory=bytearray)
    answer_offsets: array[int] = field(default_factory=lambda: array("q", [0]))
    firsts: array[int] = field(default_factory=lambda: array("q", [0]))
    ranks: array[int] = field(default_factory=lambda: array("q"))
    margins: array[float] = field(default_factory=lambda: array("f"))
    examples: array[int] = field(default_factory=lambda: array("q"))
    truncated: int = 0
    too_long: int = 0
    empty: int = 0
    repeated: int = 0
    unanswered: int = 0

    def add(self, number: int, splits: Sequence[Split], ranks: Sequence[int], margin: float) -> None:
        self.prompt_ids.extend(splits[0].prompt)
        self.prompt_offsets.append(len(self.prompt_ids))
        for split in splits:
            self.answer_ids.extend(split.answer)
            self.answer_mask.extend(split.mask)
            self.answer_offsets.append(len(self.answer_ids))
        self.ranks.extend(ranks)
        self.firsts.append(len(self.ranks))
        self.margins.append(margin)
        self.examples.append(number)


def encode_preferences(
    records: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    max_length: int,
    side: str,
    ticker: Ticker,
    places: Sequence[str] = (),
    *,
    cut: bool = False,
) -> PreferenceStore:
    """Records as `preferences.comparison` makes them, as a store of rows of at most `max_length` tokens.

    An answer that does not fit behind its prompt loses its end with `cut`, and else is left out. Of answers
    with the same tokens one is kept where they are tied, and none where they are not: nobody can say where it
    stands. What is left of a record without two answers ranked apart is left out. Raises `DataError` naming
    the place of a record.
    """
    columns, render = _Columns(), AnswerRenderer(tokenizer)
    for number, record in enumerate(records):
        where = places[number] if places else ""
        ranked = _ranked(record, render, max_length, columns, where, cut)
        kept = _distinct(ranked, columns)
        if len({rank for _, rank in kept}) < 2:
            columns.unanswered += 1
        else:
            splits, ranks = [split for split, _ in kept], [rank for _, rank in kept]
            columns.add(number, splits, ranks, float(record.get("margin", 0.0)))
        ticker.add(1)
    pad = tokenizer.pad_token_id
    return PreferenceStore(
        side,
        list(map(dict, records)),
        np.frombuffer(columns.examples, np.int64),
        np.frombuffer(columns.prompt_ids, np.int32),
        np.frombuffer(columns.prompt_offsets, np.int64),
        np.frombuffer(columns.answer_ids, np.int32),
        np.frombuffer(columns.answer_mask, np.bool_),
        np.frombuffer(columns.answer_offsets, np.int64),
        np.frombuffer(columns.firsts, np.int64),
        np.frombuffer(columns.ranks, np.int64),
        np.frombuffer(columns.margins, np.float32),
        pad_token_id=0 if pad is None else int(pad),
        max_length=max_length,
        truncated=columns.truncated,
        too_long=columns.too_long,
        empty=columns.empty,
        repeated=columns.repeated,
        stripped=render.stripped,
        unanswered=columns.unanswered,
    )


def _ranked(
    record: Mapping[str, Any],
    render: AnswerRenderer,
    max_length: int,
    columns: _Columns,
    where: str,
    cut: bool,
) -> list[tuple[Split, int]]:
    """The answers of a record that fit, with their ranks."""
    found: list[tuple[Split, int]] = []
    prompt: list[int] | None = None
    for answer, rank in zip(record["completions"], record["ranks"], strict=True):
        if is_blank(answer):
            columns.empty += 1
            continue
        split = render(record, answer, where)
        if prompt is None:
            prompt = split.prompt
        elif prompt != split.prompt:
            raise DataError(
                "the prompt has other tokens before one answer than before another",
                where=where,
                hint="use a chat template that writes the prompt alike whatever the answer is, "
                "or end a prompt of text with a new line",
            )
        room = max_length - len(prompt)
        if len(split.answer) > room:
            if not cut or not any(split.mask[: max(0, room)]):
                columns.too_long += 1
                continue
            columns.truncated += 1
            split = Split(split.prompt, split.answer[:room], split.mask[:room])
        found.append((split, rank))
    return found


def _distinct(ranked: Sequence[tuple[Split, int]], columns: _Columns) -> list[tuple[Split, int]]:
    """Each answer once, in order; none of those whose ranks contradict each other."""
    ranks_of: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for split, rank in ranked:
        ranks_of[tuple(split.answer)].append(rank)
    kept: list[tuple[Split, int]] = []
    seen: set[tuple[int, ...]] = set()
    for split, rank in ranked:
        tokens = tuple(split.answer)
        if tokens in seen or len(set(ranks_of[tokens])) > 1:
            columns.repeated += 1
            continue
        seen.add(tokens)
        kept.append((split, rank))
    return kept
