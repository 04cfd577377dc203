"""Scores of answers by a reward model that is ready, for whoever asks: commands, and the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from workbench.data.records.preference_encoding import AnswerRenderer, is_blank
from workbench.errors import DataError, ModelError
from workbench.models.reward_head import reward_layer, reward_shift, score_in_fp32
from workbench.objectives.reward.rows import padded
from workbench.objectives.task import bare, inputs_of

TOKENS = 4096
"""Places of a batch."""


class RewardScorer:
    """Scores answers as in training: prompt and answer through the chat template in one piece, the score at
    the end of the turn, in fp32, with the shift that puts reference answers at 0.

    Raises `ModelError` where the model gives no score, or its tokenizer knows tokens that it does not.
    """

    def __init__(self, model: Any, tokenizer: Any, max_length: int) -> None:
        self.model, self.tokenizer, self.max_length = model, tokenizer, max_length
        inner = bare(model)
        score_in_fp32(reward_layer(inner))
        self.config = inner.config
        self.shift = reward_shift(inner.config)
        self._known = inputs_of(model)
        self._render = AnswerRenderer(tokenizer)
        vocabulary = int(inner.get_input_embeddings().weight.shape[0])
        if len(tokenizer) > vocabulary:
            raise ModelError(
                f"the tokenizer has {len(tokenizer):,} entries, the reward model only {vocabulary:,}",
                where=str(getattr(tokenizer, "name_or_path", "")),
                hint="a reward model reads text with the tokenizer it was trained with",
            )

    def rows(self, record: Mapping[str, Any], where: str = "") -> list[list[int] | None]:
        """The tokens of each answer of a record as `preferences.comparison` makes it, behind its prompt; None
        for one that is blank or does not fit. Raises `DataError`."""
        found: list[list[int] | None] = []
        for answer in record["completions"]:
            if is_blank(answer):
                found.append(None)
                continue
            split = self._render(record, answer, where)
            row = [*split.prompt, *split.answer]
            found.append(row if len(row) <= self.max_length else None)
        return found

    @torch.no_grad()
    def scores(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """The score of each row of tokens, those of like length computed together."""
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        found = [0.0] * len(rows)
        device = next(self.model.parameters()).device
        start = 0
        while start < len(order):
            # Where nothing marks padding, it would be read as text.
            size = 1
            while (
                self.config.get_text_config().pad_token_id is not None
                and start + size < len(order)
                and (size + 1) * len(rows[order[start + size]]) <= TOKENS
            ):
                size += 1
            some = order[start : start + size]
            for number, score in zip(some, self._batch([rows[n] for n in some], device), strict=True):
                found[number] = score + self.shift
            start += size
        return found

    def _batch(self, rows: Sequence[Sequence[int]], device: torch.device) -> list[float]:
        pad = self.config.get_text_config().pad_token_id
        if pad is None:
            # One row alone, as long as it is: its last token is its end.
            inputs = {"input_ids": torch.tensor([list(rows[0])], device=device)}
        else:
            ids, mask = padded(rows, int(pad))
            arrays = {"input_ids": ids, "attention_mask": mask}
            inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        known = {name: value for name, value in inputs.items() if name in self._known}
        scores: list[float] = self.model(**known).logits.float().squeeze(-1).tolist()
        return scores

    def each(
        self, records: Sequence[Mapping[str, Any]], places: Sequence[str] = ()
    ) -> list[list[float | None]]:
        """The scores of the answers to each record, None where `rows` has none. Raises `DataError`."""
        rows = [
            self.rows(record, place)
            for record, place in zip(records, places or [""] * len(records), strict=True)
        ]
        scores = iter(self.scores([row for own in rows for row in own if row is not None]))
        return [[None if row is None else next(scores) for row in own] for own in rows]

    def score(self, record: Mapping[str, Any]) -> list[float]:
        """The scores of all answers to one record. Raises `DataError` for an answer that has none."""
        found = []
        for number, score in enumerate(self.each([record])[0], 1):
            if score is None:
                raise DataError(
                    f"answer {number} is blank, or longer than the {self.max_length:,} tokens that the model "
                    "takes with its prompt"
                )
            found.append(score)
        return found
