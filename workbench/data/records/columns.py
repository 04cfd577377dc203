"""Rows as they come, one behind the other, until they are a store."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from workbench.data.records.store import ExampleStore


class Columns:
    """Collects encodings: about six bytes a token."""

    def __init__(self) -> None:
        self._ids, self._types = array("i"), array("b")
        self._offsets, self._examples = array("q", [0]), array("q")

    def add(self, encoding: Any, example: int, with_types: bool) -> None:
        """One more row, of record number `example`."""
        self._ids.extend(encoding.ids)
        if with_types:
            self._types.extend(encoding.type_ids)
        self._offsets.append(self._offsets[-1] + len(encoding.ids))
        self._examples.append(example)

    def store(
        self,
        side: str,
        labels: tuple[str, ...],
        records: list[Any],
        tokenizer: Any,
        max_length: int,
        **more: Any,
    ) -> ExampleStore:
        """All rows; `more` is what is to be predicted."""
        pad = tokenizer.pad_token_id
        return ExampleStore(
            side,
            labels,
            np.frombuffer(self._ids, np.int32),
            np.frombuffer(self._offsets, np.int64),
            np.frombuffer(self._examples, np.int64),
            records,
            token_type_ids=np.frombuffer(self._types, np.int8) if len(self._types) else None,
            pad_token_id=0 if pad is None else int(pad),
            max_length=max_length,
            left_padded=getattr(tokenizer, "padding_side", "right") == "left",
            pad_type_id=int(getattr(tokenizer, "pad_token_type_id", 0) or 0),
            **more,
        )
