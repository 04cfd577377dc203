"""What each step of a cleaning did so far, from the counts of its shards and of the tasks at work."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.store.cleaning import Cleaning

NUMBERS = ("in", "kept", "changed", "dropped", "characters_in", "characters_out")


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
    """Reads the counts again and again; what a finished shard wrote is read once."""

    def __init__(self, cleaning: Cleaning) -> None:
        self.cleaning = cleaning
        self._known: dict[Path, dict[str, Any]] = {}
        self._names: list[str] | None = None

    def read(self) -> list[StepCounts]:
        """All steps that the recipe takes, in order, with what is known of each. Raises `RecipeError`."""
        if self._names is None:
            # Of a cleaning that is there, the recipe stays what it is.
            self._names = list(self.cleaning.recipe().steps())
        steps = [StepCounts(number, name) for number, name in enumerate(self._names, 1)]
        working = self._working()
        for step in steps:
            folder = self.cleaning.steps_path / f"{step.number:02d}-{step.name}"
            done = set()
            for path in sorted(folder.glob("*.json")):
                if path.name.startswith("."):
                    continue
                if path not in self._known and (value := _json(path)) is not None:
                    self._known[path] = value
                if path in self._known:
                    step.add(self._known[path])
                    step.shards += 1
                    done.add(path.stem)
            for shard, value in working.get(folder.name, []):
                if shard not in done:
                    step.add(value)
        return steps

    def _working(self) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """What the tasks at work say of their steps: folder of the step to (shard, counts)."""
        found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for path in sorted(self.cleaning.progress_path.glob("*.json")):
            shard = path.stem.rpartition("-")[2]
            for name, value in (_json(path) or {}).items():
                found.setdefault(name, []).append((shard, value))
        return found


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
