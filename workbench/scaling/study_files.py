"""From a study's name or file, overrides and a budget, to its plan on disk; and its fit, made when needed."""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.errors import RecipeError, RunError, UsageError
from workbench.recipe import Recipe, load_mapping, yaml_file
from workbench.recipe.load import apply_override
from workbench.scaling import fit_file
from workbench.scaling.fitting.bootstrap import LEVEL, RESAMPLES
from workbench.scaling.fitting.report import report_on
from workbench.scaling.laws import Count
from workbench.scaling.plan import Plan
from workbench.scaling.recipes import base_recipe
from workbench.scaling.results import ASKED, results_of
from workbench.scaling.spec import StudySpec, known_keys, read_spec
from workbench.store.scaling_studies import Study

FOLDER = ("scaling", "studies")
ORDER = ("tiny-decoders", "tiny-sums", "fixed-ratio", "chinchilla-small")
"""As one would try them; a user's own stand before them."""


def study_presets() -> dict[str, tuple[Path, str]]:
    """The studies that can be named, with their files and first lines; a user's own come first."""
    found: dict[str, tuple[Path, str]] = {}
    for root in (paths.user_presets_dir(), paths.resources("presets")):
        for path in sorted(root.joinpath(*FOLDER).glob("*.yaml")):
            with path.open(encoding="utf-8", errors="replace") as file:
                first = file.readline()
            found.setdefault(path.stem, (path, first[1:].strip() if first.startswith("#") else ""))
    known = {name: place for place, name in enumerate(ORDER)}
    return dict(sorted(found.items(), key=lambda item: (known.get(item[0], -1), item[0])))


def load_spec(name: str, overrides: Sequence[str] = ()) -> StudySpec:
    """The study that a preset, a file, or a mere recipe describes, with overrides of its own keys and of its
    recipe's.

    A name that is no study but a recipe is a study of that recipe, all else as usual. Raises `RecipeError`.
    """
    mapping = _mapping(name)
    for override in overrides:
        section = override.partition("=")[0].partition(".")[0].strip()
        if section in Recipe.model_fields:
            changes = mapping.setdefault("changes", {})
            if section == "data" and "sources." in override:
                # An item of a list that only the base recipe has is changed in a copy of it.
                base = load_mapping(str(mapping.get("base", "nano"))).get("data", {})
                changes.setdefault("data", {}).setdefault("sources", base.get("sources", []))
            apply_override(changes, override)
        else:
            _override(mapping, override)
    spec = read_spec(mapping, name)
    path = Path(name).expanduser()
    pin_paths(spec, path.parent if path.suffix in (".yaml", ".yml") else Path())
    return spec


def _mapping(name: str) -> dict[str, Any]:
    presets = study_presets()
    if name in presets:
        return yaml_file.read(presets[name][0])
    try:
        mapping = load_mapping(name)
    except RecipeError as error:
        near = difflib.get_close_matches(name, presets, n=1)
        if near:
            raise RecipeError(error.message, where=error.where, hint=f"did you mean {near[0]}?") from None
        raise
    path = Path(name).expanduser()
    is_file = path.suffix in (".yaml", ".yml")
    if is_file and not set(mapping) & set(Recipe.model_fields):
        return mapping
    base = str(path.absolute()) if is_file else name
    return {"base": base}


def _override(mapping: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    keys, known = dotted.strip().split("."), known_keys()
    if not equals:
        raise RecipeError(f"“{override}” is not an override", hint="write key=value, for example grid=ratio")
    # Whole sections too: arithmetic=null leaves the sums out.
    if dotted.strip() not in {*known, *StudySpec.model_fields} and keys[0] != "changes":
        names = [*known, *Recipe.model_fields]
        near = difflib.get_close_matches(dotted.strip(), names, n=1, cutoff=0.5)
        raise RecipeError(
            f"there is no key “{dotted.strip()}” in a study, nor in a recipe",
            where=f"override {override}",
            hint=f"did you mean {near[0]}?" if near else f"known: {', '.join(StudySpec.model_fields)}",
        )
    target = mapping
    for key in keys[:-1]:
        if not isinstance(target.get(key), dict):
            target[key] = {}
        target = target[key]
    target[keys[-1]] = yaml_file.parse(text, f"override {override}")


BUDGET = re.compile(r"(?P<number>[0-9.eE+-]+?)\s*(?P<unit>h|hours?|m|min|d|days?)?")
HOURS = {"m": 1 / 60, "min": 1 / 60, "d": 24.0, "day": 24.0, "days": 24.0}


def take_budget(spec: StudySpec, text: str | None, gpu: str | None, gpus: int | None) -> None:
    """Set the budget as typed: `2e14` FLOPs, or `1.5h`, `90m`, `2d`. Raises `UsageError`."""
    if gpu is not None:
        spec.budget.gpu = gpu
    if gpus is not None:
        spec.budget.gpus = gpus
    if text is None:
        return
    match = BUDGET.fullmatch(text.strip())
    try:
        number = float(match["number"]) if match else 0.0
    except ValueError:
        number = 0.0
    if match is None or not 0 < number < float("inf"):
        raise UsageError(
            f"“{text}” is no budget", where="--budget", hint="2e14 for FLOPs, or 1.5h, 90m, 2d for time"
        )
    if match["unit"]:
        spec.budget.flops, spec.budget.hours = None, number * HOURS.get(match["unit"], 1.0)
    else:
        spec.budget.flops, spec.budget.hours = number, None


def pin_paths(spec: StudySpec, relative_to: Path) -> None:
    """Name local files and folders by their whole paths: the queue may be started from another folder."""
    if Path(spec.base).suffix in (".yaml", ".yml"):
        base = Path(spec.base).expanduser()
        beside = relative_to / base
        spec.base = str((beside if beside.exists() else base).absolute())
    data = base_recipe(spec, spec.base).data
    for key, sources in (("sources", data.sources), ("eval_sources", data.eval_sources)):
        found = [_pinned(source.model_dump(mode="json", exclude_defaults=True)) for source in sources]
        if any(new["path"] != old.path for new, old in zip(found, sources, strict=True)):
            spec.changes.setdefault("data", {})[key] = found


def _pinned(source: dict[str, Any]) -> dict[str, Any]:
    path = Path(source["path"]).expanduser()
    if not path.is_absolute() and (path.exists() or (glob.has_magic(str(path)) and glob.glob(str(path)))):
        return {**source, "path": str(path.absolute())}
    return source


def save_plan(study: Study, spec: StudySpec, plan: Plan) -> None:
    """Write a study's file and its plan. Raises `StorageError`."""
    from workbench.store.files import replace_file

    text = yaml_file.write(spec.model_dump(mode="json", exclude_defaults=True) or {"base": spec.base})
    replace_file(study.spec_path, text.encode(), durable=True)
    study.write(study.plan_path, plan.as_dict())


def count_of(study: Study) -> Count:
    """Which parameters a study counts."""
    return read_spec(study.spec(), str(study.spec_path)).shapes.count


def kept_fit(study: Study) -> dict[str, Any] | None:
    """The last fit; None before there was one, and where it is damaged or of an older version: it can be made
    anew."""
    try:
        found = study.fit()
    except RunError:
        return None
    return found if found is not None and fit_file.is_readable(found) else None


def fit_study(
    study: Study,
    *,
    count: Count | None = None,
    leave_out: Collection[str] = (),
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    anew: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Fit the runs that have finished, and keep the result; without `anew` the one that is kept will do where
    it is of the same runs, and what it was asked for (the count, the level, runs left out) holds on. Raises
    `DataError` where there are too few."""
    known = None if anew else kept_fit(study)
    if known is not None:
        count, level = count or known["count"], float(known["level"])
        leave_out = [*leave_out, *(name for name, why in known["left_out"].items() if why == ASKED)]
    counted = count or count_of(study)
    results = results_of(study, counted, leave_out)
    if known is not None and fit_file.is_of(known, results.points, counted):
        return known
    report = report_on(
        results.points,
        counted,
        where=f"study {study.name}",
        resamples=resamples,
        level=level,
        progress=progress,
    )
    found = fit_file.as_dict(report, results.left_out)
    study.write(study.fit_path, found)
    return found
