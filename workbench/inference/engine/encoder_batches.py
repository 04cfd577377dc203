"""Texts as token ids, in batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tokenizers import Encoding

TOKENS = 8192
ROWS = 64
"""A batch ends where either is reached: padding stays little, and memory bounded."""


@dataclass(frozen=True)
class Shape:
    """How batches are made: at most so many tokens and rows, and on which side they are padded."""

    tokens: int = TOKENS
    rows: int = ROWS
    pad_left: bool = False


@dataclass(frozen=True)
class TextBatch:
    """Some of the texts: their numbers, their encodings, and the model's input [B, L]."""

    numbers: list[int]
    encodings: list[Encoding]
    inputs: dict[str, torch.Tensor]

    @property
    def mask(self) -> torch.Tensor:
        """1 at the tokens of a text, special ones included; 0 at padding."""
        return self.inputs["attention_mask"]


class TextTokens:
    """A private copy of a tokenizer's fast part, which cuts at `max_length` tokens and is safe to be called
    from several threads."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        from tokenizers import Tokenizer

        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_padding()
        self._backend.enable_truncation(max_length)
        self._padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        ends = (tokenizer.eos_token_id, tokenizer.bos_token_id)
        self._empty = next((token for token in ends if token is not None), self._padding)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """With the special tokens that the model knows around each text."""
        return list(self._backend.encode_batch(list(texts)))

    def batches(
        self, encodings: Sequence[Encoding], shape: Shape, device: torch.device
    ) -> Iterator[TextBatch]:
        """All of them, the longest first, so that memory that does not suffice shows at once."""
        order = sorted(range(len(encodings)), key=lambda number: -len(encodings[number].ids))
        while order:
            longest = max(1, len(encodings[order[0]].ids))
            count = max(1, min(shape.rows, shape.tokens // longest))
            numbers, order = order[:count], order[count:]
            chosen = [encodings[number] for number in numbers]
            yield TextBatch(numbers, chosen, self._inputs(chosen, longest, shape.pad_left, device))

    def _inputs(
        self, encodings: list[Encoding], length: int, pad_left: bool, device: torch.device
    ) -> dict[str, torch.Tensor]:
        def padded(rows: list[list[int]], value: int) -> torch.Tensor:
            fill = [[value] * (length - len(row)) for row in rows]
            pairs = zip(fill, rows, strict=True) if pad_left else zip(rows, fill, strict=True)
            return torch.tensor([[*first, *second] for first, second in pairs], device=device)

        # A text without a token still has a vector: that of an end.
        ids = [encoding.ids or [self._empty] for encoding in encodings]
        return {
            "input_ids": padded(ids, self._padding),
            "attention_mask": padded([[1] * len(row) for row in ids], 0),
            "token_type_ids": padded([encoding.type_ids or [0] for encoding in encodings], 0),
        }
