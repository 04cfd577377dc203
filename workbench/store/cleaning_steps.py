"""What each step of a cleaning did so far, from the counts of its shards and of the tasks at work."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.store.cleaning import Cleaning

NUMBERS = ("in", "kept", "changed", "dropped", "characters_in", "characters_out")
SETTLED_NANOSECONDS = 2_000_000_000
"""A folder in which nothing happened for so long is taken by its time to be as it was."""


@dataclass
class StepCounts:
    """A step: records that came in, and what became of them, and why."""

    number: int
    name: str
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    shards: int = 0

    def add(self, value: dict[str, Any]) -> None:
        """The counts of a shard."""
        self.counts.update({name: int(value.get(name, 0)) for name in NUMBERS})
        self.reasons.update(value.get("reasons", {}))
        self.found.update(value.get("found", {}))

    @property
    def came(self) -> int:
        return self.counts["in"]

    @property
    def left(self) -> int:
        """Records that went on to the next step."""
        return self.counts["kept"] + self.counts["changed"]

    def as_dict(self) -> dict[str, Any]:
        """For reports and programs."""
        return {
            "number": self.number,
            "step": self.name,
            **{name: self.counts[name] for name in NUMBERS},
            "reasons": dict(sorted(self.reasons.items(), key=lambda entry: (-entry[1], entry[0]))),
            "found": dict(sorted(self.found.items())),
        }


class StepReader:
    """Reads the counts again and again; what a finished shard wrote is read once, and a folder in which
    nothing changed is not looked through."""

    def __init__(self, cleaning: Cleaning) -> None:
        self.cleaning = cleaning
        self._finished: list[_Finished] = []

    def read(self) -> list[StepCounts]:
        """All steps that the recipe takes, in order, with what is known of each. Raises `RecipeError`."""
        if not self._finished:
            # Of a cleaning that is there, the recipe stays what it is.
            for number, name in enumerate(self.cleaning.recipe().steps(), 1):
                folder = self.cleaning.steps_path / f"{number:02d}-{name}"
                self._finished.append(_Finished(folder, StepCounts(number, name)))
        steps = []
        working = self._working()
        for finished in self._finished:
            finished.look()
            step = deepcopy(finished.counts)
            for shard, value in working.get(finished.folder.name, []):
                if shard not in finished.known:
                    step.add(value)
            steps.append(step)
        return steps

    def _working(self) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """What the tasks at work say of their steps: folder of the step to (shard, counts)."""
        found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for path in sorted(self.cleaning.progress_path.glob("*.json")):
            shard = path.stem.rpartition("-")[2]
            for name, value in (_json(path) or {}).items():
                found.setdefault(name, []).append((shard, value))
        return found


class _Finished:
    """What the finished shards of a step come to."""

    def __init__(self, folder: Path, counts: StepCounts) -> None:
        self.folder, self.counts = folder, counts
        self.known: set[str] = set()
        self._changed: int | None = None

    def look(self) -> None:
        """Add what came since the last time."""
        try:
            changed = self.folder.stat().st_mtime_ns
            if changed == self._changed:
                return
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith(".")]
        except OSError:
            return
        there = [name[:-5] for name in names if name.endswith(".json")]
        for shard in sorted(set(there) - self.known):
            if (value := _json(self.folder / f"{shard}.json")) is not None:
                self.counts.add(value)
                self.counts.shards += 1
                self.known.add(shard)
        # What is written in the same moment of the disk's clock would not show.
        is_settled = time.time_ns() - changed > SETTLED_NANOSECONDS
        self._changed = changed if is_settled and self.known.issuperset(there) else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
