"""The transcripts of an evaluation, read one by one: there may be many, and each may be long.

A transcript is one line of `results.jsonl`: which item it was (`id`, `row`, `where`, `question`,
`reference`), its `score` from 0 to 1 (None without a reference), what it cost (`usage`, `requests`,
`seconds`), the `samples` (each with `text`, `answer`, `correct`, `details`), and the `trace`, whose
entries are the steps of a technique.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from workbench.store.json_lines import parsed, whole_lines


class Transcripts:
    """Transcripts by number, in the order in which they were finished.

    Only where each begins is kept in memory: 8 bytes. The file may grow meanwhile; `refresh` looks. Not to
    be used from two threads at once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts = array("Q")
        self._end = 0

    def __len__(self) -> int:
        return len(self._starts)

    def refresh(self) -> int:
        """Take in what was finished since, and say how many are new. Raises `StorageError`."""
        before = len(self._starts)
        for start, line in whole_lines(self.path, self._end):
            self._starts.append(start)
            self._end = start + len(line)
        return len(self._starts) - before

    def read(self, number: int) -> dict[str, Any]:
        """One transcript; an empty one where its line is damaged. Raises `StorageError`."""
        for _, line in whole_lines(self.path, self._starts[number]):
            return parsed(line) or {}
        return {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All of them, one in memory at a time; damaged lines are empty."""
        for _, line in whole_lines(self.path):
            yield parsed(line) or {}

    def search(self, text: str, start: int = 0) -> Iterator[int]:
        """The numbers of those that hold a text anywhere, whatever its case, from a number on."""
        # As the text stands in the file: its quotes and line ends are escaped there.
        escaped = orjson.dumps(text)[1:-1].decode().casefold()
        wanted = text.casefold()
        if start >= len(self._starts):
            return
        for number, (_, line) in enumerate(whole_lines(self.path, self._starts[start]), start):
            if number >= len(self._starts):
                return
            # Most lines are settled by this; the rest may hold it in a key, which does not count.
            if escaped in line.decode(errors="replace").casefold() and _holds(parsed(line), wanted):
                yield number


def _holds(value: Any, wanted: str) -> bool:
    if isinstance(value, str):
        return wanted in value.casefold()
    if isinstance(value, dict):
        return any(_holds(item, wanted) for item in value.values())
    if isinstance(value, list):
        return any(_holds(item, wanted) for item in value)
    return value is not None and not isinstance(value, bool) and wanted in str(value)
