"""What a step did to the records of a shard: counts, and each one that it dropped or changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.data.cleaning import live
from workbench.data.cleaning.items import BETWEEN, Item, joined
from workbench.data.cleaning.layout import shard_name, whole, write_json
from workbench.data.cleaning.verdicts import Verdict

GROUP_ROWS, GROUP_BYTES = 200, 8 << 20
"""Rows that are read together when one is looked at, and what of them is held while they are written."""

ALWAYS_KEPT = 100
"""Records of a shard whose text is kept even where the recipe keeps no texts."""

QUOTES = ("line", "text")
"""What of a verdict's details quotes the record."""

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("where", pa.string()),
        ("source", pa.int32()),
        ("action", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("before", pa.string()),
        ("after", pa.string()),
        ("other", pa.string()),
    ]
)


class StepLog:
    """Collects what one step does in one task; both files appear when the task has gone through all
    records."""

    def __init__(self, folder: Path, rank: int, *, keep_text: bool | Literal["none"]) -> None:
        self.folder, self.rank, self.keep_text = folder, rank, keep_text
        self.counts: dict[str, Any] = {
            **dict.fromkeys(("in", "kept", "changed", "dropped", "characters_in", "characters_out"), 0),
            "reasons": Counter[str](),
            "found": Counter[str](),
        }
        self._rows: list[dict[str, Any]] = []
        self._bytes = self._told = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        self._whole = whole(self.folder / f"{shard_name(self.rank)}.parquet")
        self._writer = pq.ParquetWriter(str(self._opened(self._whole)), SCHEMA, compression="zstd")
        return self

    @staticmethod
    def _opened(context: Any) -> Path:
        path: Path = context.__enter__()
        return path

    def add(self, item: Item, verdict: Verdict, before: list[str], other: str = "") -> None:
        """One record: its texts before the step, its verdict, and the text it was compared with."""
        counts = self.counts
        counts["in"] += 1
        counts[verdict.action] += 1
        size = sum(map(len, before))
        counts["characters_in"] += size
        if verdict.reason:
            counts["reasons"][verdict.reason] += 1
        for kind, number in verdict.detail.get("found", {}).items():
            counts["found"][kind] += number
        if verdict.action != "dropped":
            counts["characters_out"] += size if verdict.action == "kept" else sum(map(len, item.texts))
        if verdict.action != "kept":
            self._tell(item, verdict, before, other)
        if counts["in"] % 16 == 0:
            live.tell(self.folder.name, counts)

    def _tell(self, item: Item, verdict: Verdict, before: list[str], other: str) -> None:
        keeps = self.keep_text != "none" and (self.keep_text or self._told < ALWAYS_KEPT)
        self._told += 1
        changed = verdict.action == "changed"
        row = {
            "row": self.counts["in"] - 1,
            "where": item.where,
            "source": item.source,
            "action": verdict.action,
            "reason": verdict.reason,
            "detail": orjson.dumps(self._detail(verdict)).decode(),
            "before": joined(before, BETWEEN) if keeps else None,
            "after": item.text if keeps and changed else None,
            "other": other if keeps and other else None,
        }
        self._rows.append(row)
        self._bytes += sum(len(row[name] or "") for name in ("before", "after", "other"))
        if len(self._rows) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def _detail(self, verdict: Verdict) -> dict[str, Any]:
        """The figures; without the lines and texts in it where none are kept."""
        hidden = QUOTES if self.keep_text == "none" else ()
        return {key: value for key, value in verdict.detail.items() if key not in hidden}

    def _flush(self) -> None:
        assert self._writer is not None
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows, self._bytes = [], 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._writer is not None
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()
            self._whole.__exit__(kind, error, trace)
        if kind is None:
            live.tell(self.folder.name, self.counts)
            write_json(self.folder / f"{shard_name(self.rank)}.json", self.counts)
