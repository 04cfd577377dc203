"""The ranks pane: what each process of a run does, how fast it is, and which one holds the others up."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.store.lone_rank import lone_rank, metrics_of
from workbench.store.ranks import Rank, RanksReader
from workbench.store.runs import Run
from workbench.tui.train.ranks_text import ranks_lines
from workbench.tui.train.rows import Row
from workbench.tui.widgets.text_lines import Line, plain

if TYPE_CHECKING:
    from workbench.store.metrics import MetricsTail

PERIOD = 1.0
MARGIN = 2
NOTHING = "Nothing of its ranks yet: they tell of themselves once the run has begun."


class RanksSource:
    """The ranks of one run, read once a second while they are on screen."""

    def __init__(self, run: Run, row: Callable[[], Row | None], symbols: str) -> None:
        self._run, self._row, self._symbols = run, row, symbols
        self._reader = RanksReader(run.path)
        self._ranks: tuple[Rank, ...] = ()
        self._metrics: MetricsTail | None = None
        self._due = 0.0

    def poll(self) -> list[Line] | None:
        now = time.monotonic()
        if now < self._due:
            return None
        self._due = now + PERIOD
        new = self._reader.poll()
        if new is not None:
            self._ranks = new
        row = self._row()
        ranks = self._ranks or self._alone(row)
        if not ranks:
            return [plain(NOTHING, "dim")]
        width = shutil.get_terminal_size().columns - MARGIN
        active = row is not None and row.active
        return ranks_lines(ranks, width, self._symbols, active=active, now=time.time())

    def _alone(self, row: Row | None) -> tuple[Rank, ...]:
        """The rank of a run of one process."""
        if row is None:
            return ()
        if self._metrics is None:
            self._metrics = metrics_of(self._run.metrics_path)
        rank = lone_rank(self._run, row.status, self._metrics)
        return (rank,) if rank else ()
