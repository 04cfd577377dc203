"""The held-out pane: what the last evaluation told beside its metrics."""

from __future__ import annotations

import json
from typing import Any

from workbench.store.runs import Run
from workbench.tui.train.reward_report import report_lines
from workbench.tui.train.sources import GrowingFile
from workbench.tui.widgets.text_lines import Line, plain

FIRST_BYTES = 1 << 18
NOTHING = "No report yet. A reward model's evaluations have one: how often it is right, and how sure."


class HeldOutSource:
    """The newest line of a run's `evaluations.jsonl`."""

    def __init__(self, run: Run, symbols: str) -> None:
        self._file, self._symbols = GrowingFile(run.evaluations_path, FIRST_BYTES), symbols
        self._last: dict[str, Any] | None = None

    def poll(self) -> list[Line] | None:
        new = self._file.new_lines()
        if new is None:
            return None
        lines, fresh = new
        found = [record for record in map(_record, lines) if record is not None]
        self._last = found[-1] if found else None if fresh else self._last
        if self._last is None:
            return [plain(NOTHING, "dim")]
        try:
            told = report_lines(self._last, self._symbols)
        except (KeyError, TypeError, ValueError):
            return [plain("The last report cannot be read.", "bad")]
        return [plain(f"step {self._last['step']}", "title"), *told]


def _record(raw: bytes) -> dict[str, Any] | None:
    """One line; None for one that is damaged or of another kind."""
    try:
        record = json.loads(raw)
    except ValueError:
        return None
    return (
        record if isinstance(record, dict) and record.get("kind") == "reward" and "step" in record else None
    )
