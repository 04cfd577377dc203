"""The Slurm job of a run in words, asked for seldom: squeue may take seconds."""

from __future__ import annotations

import time

from workbench.store import slurm
from workbench.tui.train.rows import Row

PERIOD = 20.0
OVER = ("finished", "failed")


class JobWords:
    """Remembers what was said of a run's job for a while."""

    def __init__(self) -> None:
        self._name, self._due, self._words = "", 0.0, ""

    def words(self, row: Row) -> str:
        """As `slurm.words_of`; of a run that is over without asking Slurm."""
        now = time.monotonic()
        if row.name == self._name and now < self._due:
            return self._words
        self._name, self._due = row.name, now + PERIOD
        job = slurm.job_of(row.run)
        if job is None:
            self._words = ""
        else:
            self._words = f"Slurm {job.job_id}" if row.state in OVER else slurm.words_of(row.run)
        return self._words
