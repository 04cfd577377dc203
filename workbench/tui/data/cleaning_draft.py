"""What the cleaning view is about: a recipe that is being made, or a cleaning that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from workbench.errors import RecipeError, WorkbenchError
from workbench.recipe.cleaning import CleaningRecipe, StepName, complete_cleaning, read_cleaning
from workbench.store.cleaning import Cleaning, find_cleaning, list_cleanings, open_cleaning
from workbench.store.cleaning_launch import ask, request_stop, start
from workbench.store.cleaning_log import StepLogReader
from workbench.store.cleaning_steps import StepCounts, StepReader

FIRST_PRESET = "text"


class ReadLog(NamedTuple):
    """The log `of` a cleaning, step and reason, when so many of its shards were done."""

    of: tuple[Path | None, str, str]
    shards: int
    reader: StepLogReader


class Draft:
    """A preset with changes and the tab's sources; once started, the cleaning in its folder."""

    def __init__(self) -> None:
        self.preset = FIRST_PRESET
        self.overrides: list[str] = []
        self.sources: list[dict[str, Any]] = []
        self.cleaning: Cleaning | None = None
        self._reader: StepReader | None = None
        self._counts: list[StepCounts] = []
        self._given: dict[str, Any] | None = None
        """What the preset says. Files are read when they are named, not when they are looked at: they may be
        gone by then."""
        self._recipe: CleaningRecipe | None = None
        self._log: ReadLog | None = None

    def use(self, sources: list[dict[str, Any]]) -> None:
        """What a new cleaning cleans."""
        self.sources = sources
        if self.cleaning is not None:
            return
        self._recipe = None
        try:
            self.recipe()
        except RecipeError:
            # What was changed of a source that is gone.
            self.overrides = [one for one in self.overrides if not one.startswith("data.sources.")]

    def recipe(self) -> CleaningRecipe:
        """The recipe as it stands: of the tab's sources, unless it names its own."""
        if self._given is None:
            self._given = read_cleaning(self.preset)
        if self._recipe is None:
            self._recipe = complete_cleaning(self._given, self.overrides, self.preset, self.sources)
        return self._recipe

    def names(self) -> list[StepName]:
        """All steps in their order, also those that are off."""
        return list(self.recipe().order)

    def switch(self, step: str) -> None:
        """Turn a step on or off. Raises `RunError` once the cleaning has begun."""
        on = self.recipe().step(self._named(step)).enabled
        self.set(f"{step}.enabled={str(not on).lower()}")

    def set(self, override: str) -> None:
        """Change a setting. A recipe that was started stays as it is: what is changed is another. Raises
        `RecipeError`."""
        if self.cleaning is not None:
            there = str(self.cleaning.recipe_path)
            self._take(there, read_cleaning(there), ["run.name=null", override])
        else:
            given = read_cleaning(self.preset) if self._given is None else self._given
            self._take(self.preset, given, [*self.overrides, override])

    def _take(self, preset: str, given: dict[str, Any], overrides: list[str]) -> None:
        """Be about a new recipe. Raises `RecipeError`, and stays what it was."""
        recipe = complete_cleaning(given, overrides, preset, self.sources)
        self.preset, self.overrides = preset, overrides
        self._given, self._recipe = given, recipe
        self.cleaning = self._reader = self._log = None
        self._counts = []

    def open(self, name: str) -> None:
        """A preset, a recipe file, or a cleaning that is there. Raises `RecipeError`, and stays what it
        was."""
        known = [cleaning.name for cleaning in list_cleanings()]
        if name in known:
            self._show(find_cleaning(name))
            return
        try:
            self._take(name, read_cleaning(name), [])
        except RecipeError as error:
            if known and not error.hint.startswith("did you mean"):
                error.hint = f"presets: web, text, conversations, code; cleanings: {', '.join(known[:5])}"
            raise

    def start(self) -> None:
        """Start, or go on. Raises `WorkbenchError`."""
        if self.cleaning is None:
            stem = Path(self.preset).stem if self.preset.endswith(".yaml") else self.preset
            cleaning, _ = open_cleaning(self.recipe(), "cleaning" if stem == "recipe" else stem)
            self._show(cleaning)
            if cleaning.status().state == "finished" or cleaning.status().is_active:
                return
        assert self.cleaning is not None
        start(self.cleaning)

    def stop(self) -> None:
        """Stop. Raises `RunError` where nothing runs."""
        if self.cleaning is not None:
            request_stop(self.cleaning)

    def trial(self, count: int, stopped: Callable[[], bool]) -> dict[str, Any]:
        """Try the rules on some records; blocks, until `stopped` at most. Raises `WorkbenchError`."""
        return ask(self.recipe(), "dry_run", count=count, stopped=stopped)

    def _show(self, cleaning: Cleaning) -> None:
        self._given, self._recipe = None, cleaning.recipe()
        self.cleaning, self._reader, self._log = cleaning, StepReader(cleaning), None

    # What is read of the folder.

    def reading(self) -> object:
        """Read the folder; what comes out is another when anything that is shown may be."""
        if self.cleaning is None or self._reader is None:
            return (self.preset, tuple(self.overrides), len(self.sources))
        try:
            self._counts = self._reader.read()
        except WorkbenchError:
            self._counts = []
        status = self.cleaning.status()
        told = tuple((tuple(sorted(step.counts.items())), step.shards) for step in self._counts)
        return (self.cleaning.path, status.seen_state(), status.message, told)

    def title(self, said: str) -> str:
        """One line about what is shown."""
        if self.cleaning is None:
            changes = f", {len(self.overrides)} changed" if self.overrides else ""
            hint = said or "g starts, x tries, space switches a step"
            return f"new, {self._preset_name()}{changes}, of {self._source_names()}  {hint}"
        status = self.cleaning.status()
        progress = status.progress or {}
        stage = f" stage {progress['done'] + 1} of {progress['total']}" if progress.get("total") else ""
        return f"{self.cleaning.name}  {status.seen_state()}{stage}  {said or status.message}"

    def _preset_name(self) -> str:
        path = Path(self.preset)
        if path.name == "recipe.yaml":
            return f"like {path.parent.name}"
        return path.name if path.suffix else f"preset {self.preset}"

    def _source_names(self) -> str:
        first, *others = [Path(source.path).name for source in self.recipe().data.sources]
        return f"{first} and {len(others)} more" if others else first

    def error(self) -> str:
        """What the cleaning ended with, in lines."""
        status = self.cleaning.status() if self.cleaning is not None else None
        if status is None or not status.error:
            return ""
        error = status.error
        return "\n".join(line for line in (f"! {error['message']}", error["where"], error["hint"]) if line)

    def rows(self) -> list[dict[str, Any]]:
        """A row a step: `enabled` as the recipe says, `idle` where it is and yet has nothing to do."""
        recipe, taken = self.recipe(), self.recipe().steps()
        counts: dict[str, dict[str, int]] = {step.name: dict(step.counts) for step in self._counts}
        return [
            {
                "name": name,
                "enabled": recipe.step(name).enabled,
                "idle": recipe.step(name).enabled and name not in taken,
                "came": counts.get(name, {}).get("in", 0),
                **{key: counts.get(name, {}).get(key, 0) for key in ("kept", "changed", "dropped")},
            }
            for name in recipe.order
        ]

    def settings(self, step: str) -> list[tuple[str, Any, str]]:
        """The settings of a step: key, value, meaning."""
        section = self.recipe().step(self._named(step))
        return [
            (key, value, str(type(section).model_fields[key].description or ""))
            for key, value in section.model_dump(mode="json").items()
        ]

    def counts(self, step: str) -> StepCounts | None:
        """What a step did so far."""
        return next((counts for counts in self._counts if counts.name == step), None)

    def reasons(self, step: str) -> list[str]:
        """The reasons that a step gave, the commonest first."""
        counts = self.counts(step)
        return [reason for reason, _ in counts.reasons.most_common()] if counts is not None else []

    def log(self, step: str, reason: str) -> StepLogReader | None:
        """What a step dropped and changed, of one reason or all, as it was read last; None where it was
        not."""
        found = self._log
        return found.reader if found is not None and found.of == self._of(step, reason) else None

    def is_behind(self, step: str, reason: str) -> bool:
        """Whether there is more to read for `log`."""
        counts = self.counts(step)
        if self.cleaning is None or counts is None or not counts.shards:
            return False
        known = 0 if self._log is None or self._log.of != self._of(step, reason) else self._log.shards
        return known != counts.shards

    def read_log(self, step: str, reason: str) -> ReadLog | None:
        """Read for `log`; blocks, and changes nothing here. Raises `WorkbenchError`."""
        counts, cleaning, of = self.counts(step), self.cleaning, self._of(step, reason)
        if cleaning is None or counts is None:
            return None
        return ReadLog(of, counts.shards, StepLogReader(cleaning, step, reason=reason))

    def take_log(self, found: ReadLog) -> None:
        """What was read."""
        self._log = found

    def _of(self, step: str, reason: str) -> tuple[Path | None, str, str]:
        return (self.cleaning.path if self.cleaning is not None else None, step, reason)

    def report(self) -> dict[str, Any]:
        """The report, empty before the end."""
        return self.cleaning.report() if self.cleaning is not None else {}

    def card(self) -> str:
        """The text of the card, empty before the end."""
        if self.cleaning is None:
            return ""
        try:
            return self.cleaning.card_path().read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def result(self) -> str:
        """The folder of the result, empty before the end."""
        if self.cleaning is None or self.cleaning.status().state != "finished":
            return ""
        return str(self.cleaning.result_path())

    def _named(self, step: str) -> StepName:
        return next(name for name in self.recipe().order if name == step)
