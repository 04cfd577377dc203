"""The recipe pane: in what this run differs from the baseline, and the whole recipe below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError, storage_error
from workbench.store.runs import Run
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, plain

if TYPE_CHECKING:
    from workbench.recipe import Recipe

# Every run has another one, so it tells nothing.
NOT_COMPARED = ("run.name",)


class RecipeSource:
    """The recipe of a run, compared with that of the pinned baseline if there is one."""

    def __init__(self, run: Run, baseline: Run | None) -> None:
        self._run, self._baseline = run, baseline
        self._seen: tuple[int | None, ...] | None = None

    def poll(self) -> list[Line] | None:
        runs = [self._run, self._baseline] if self._baseline else [self._run]
        seen = tuple(_modified(run) for run in runs)
        if seen == self._seen:
            return None
        self._seen = seen
        return [*self._comparison(), *self._text()]

    def _comparison(self) -> list[Line]:
        try:
            recipe = self._run.recipe()
        except WorkbenchError as error:
            return _problem(error)
        if self._baseline is None:
            return [*_changes(recipe), plain("")]
        if self._baseline.name == self._run.name:
            return [plain("This run is the baseline that others are compared with.", "title"), plain("")]
        try:
            baseline = self._baseline.recipe()
        except WorkbenchError as error:
            return _problem(error)
        return [*_difference(recipe, baseline, self._baseline.name), plain("")]

    def _text(self) -> list[Line]:
        try:
            text = self._run.recipe_path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            return _problem(storage_error(error, self._run.recipe_path))
        return [_yaml_line(line) for line in text.splitlines()]


def _modified(run: Run) -> int | None:
    try:
        return run.recipe_path.stat().st_mtime_ns
    except OSError:
        return None


def _difference(recipe: Recipe, baseline: Recipe, name: str) -> list[Line]:
    from workbench.recipe import difference

    found = [entry for entry in difference(recipe, baseline) if entry[0] not in NOT_COMPARED]
    shown = reveal_control(name)
    if not found:
        return [plain(f"No difference to the baseline {shown}.", "title")]
    lines = [plain(f"Difference to the baseline {shown}", "title")]
    width = max(len(key) for key, *_ in found)
    for key, here, there in found:
        lines.append(
            (
                (f"  {key:<{width}}  ", "key"),
                (_value(here), "good"),
                ("   baseline ", "dim"),
                (_value(there), "bad"),
            )
        )
    return lines


def _changes(recipe: Recipe) -> list[Line]:
    """What the recipe says beyond the defaults, for a run that is compared with nothing."""
    from workbench.recipe import Recipe as Defaults
    from workbench.recipe import difference

    found = [entry for entry in difference(recipe, Defaults()) if entry[0] not in NOT_COMPARED]
    lines = [plain("Changed from the defaults (p on another run pins it as the baseline)", "title")]
    width = max((len(key) for key, *_ in found), default=0)
    return lines + [((f"  {key:<{width}}  ", "key"), (_value(here), "good")) for key, here, _ in found]


def _value(value: Any) -> str:
    if value is None:
        return "–"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return reveal_control(text)


def _yaml_line(line: str) -> Line:
    key, colon, value = line.partition(":")
    if colon and (not value or value.startswith(" ")) and not key.lstrip().startswith(("'", '"', "#")):
        return ((f"{reveal_control(key)}:", "key"), (reveal_control(value), ""))
    return plain(reveal_control(line))


def _problem(error: WorkbenchError) -> list[Line]:
    lines = [plain(reveal_control(error.message), "bad")]
    if error.where:
        lines.append(plain(f"where: {reveal_control(error.where)}", "dim"))
    if error.hint:
        lines.append(plain(f"try: {reveal_control(error.hint)}"))
    return [*lines, plain("")]
