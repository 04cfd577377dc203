"""From a preset's name or path, and overrides, to a checked recipe."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from workbench import paths
from workbench.errors import RecipeError
from workbench.recipe import yaml_file
from workbench.recipe.not_a_section import NOT_A_SECTION, not_a_section
from workbench.recipe.section import Section
from workbench.recipe.sections import Recipe

EXTENDS = "extends"
PRESET_FOLDERS = ("runs", "models")
# By size, as one would try them; presets that are not named here follow by name.
ORDER = (
    *(
        "quickstart",
        "nano",
        "nano-window",
        "nano-linear",
        "micro",
        "mini",
        "small",
        "125m",
        "gpt2-small",
        "350m",
    ),
    *("llama2-7b", "llama3-8b", "llama2-70b", "llama3-70b", "llama3-405b"),
    *("bert-nano", "bert-tiny", "bert-mini", "bert-small", "bert-medium", "bert-base"),
    *("modernbert-nano", "modernbert-base", "electra-nano", "electra-small", "electra-base"),
    *("xlnet-nano", "xlnet-base", "t5-nano", "t5-small", "t5-base", "bart-nano", "bart-base"),
    *("classify", "regress", "tag", "span"),
    *("sft", "reward", "dpo", "ppo", "rloo", "extend"),
    *("sentiment-prompt", "sentiment-prefix", "sentiment-lora", "sentiment-full"),
)


@dataclass(frozen=True)
class Preset:
    """A recipe file that can be named: `nano`, or `models/nano` where two share a name."""

    name: str
    path: Path
    description: str
    builtin: bool


def _preset_roots() -> list[tuple[Path, bool]]:
    return [(paths.user_presets_dir(), False), (paths.resources("presets"), True)]


def list_presets(folder: str = "runs") -> list[Preset]:
    """All presets in `presets/<folder>`, a user's own in the place of the package's of the same name."""
    found: dict[str, Preset] = {}
    for root, builtin in _preset_roots():
        for path in sorted((root / folder).glob("*.yaml")):
            found.setdefault(path.stem, Preset(path.stem, path, _first_comment(path), builtin))
    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(found.values(), key=lambda preset: (place.get(preset.name, len(ORDER)), preset.name))


def _first_comment(path: Path) -> str:
    """The comment a preset file opens with, as its one-line description."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline()
    except OSError:
        return ""
    return first[1:].strip() if first.startswith("#") else ""


def find_preset(name: str, relative_to: Path | None = None, within: Sequence[str] = PRESET_FOLDERS) -> Path:
    """The file of a preset given by path, by `folder/name`, or by name in one of the folders `within`."""
    as_path = Path(name).expanduser()
    if as_path.suffix in (".yaml", ".yml") or name.startswith((".", "/", "~")):
        candidates = [relative_to / as_path] if relative_to and not as_path.is_absolute() else []
        for candidate in [*candidates, as_path]:
            if candidate.is_file():
                return candidate
        raise RecipeError(
            "no such recipe file", where=str(as_path), hint="workbench recipe list shows the presets"
        )
    folders = [""] if "/" in name else within
    for root, _ in _preset_roots():
        for folder in folders:
            candidate = root / folder / f"{name}.yaml"
            if candidate.is_file():
                return candidate
    known = [preset.name for folder in within for preset in list_presets(folder)]
    raise RecipeError(
        f"there is no preset called “{name}”",
        hint=_did_you_mean(name, known) or "workbench recipe list shows the presets; a file ends in .yaml",
    )


def load_mapping(
    name: str,
    relative_to: Path | None = None,
    _seen: tuple[Path, ...] = (),
    within: Sequence[str] = PRESET_FOLDERS,
) -> dict[str, Any]:
    """Read a preset and everything it extends into one plain mapping, not yet checked."""
    path = find_preset(name, relative_to, within).resolve()
    if path in _seen:
        chain = " → ".join(p.name for p in (*_seen, path))
        raise RecipeError(f"presets extend each other in a circle: {chain}", where=str(path))
    mapping = yaml_file.read(path)
    parents = mapping.pop(EXTENDS, [])
    if isinstance(parents, str):
        parents = [parents]
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
        raise RecipeError(f"“{EXTENDS}” takes a preset or a list of presets", where=str(path))
    merged: dict[str, Any] = {}
    for parent in parents:
        merged = merge(merged, load_mapping(parent, path.parent, (*_seen, path), within))
    return merge(merged, mapping)


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`: mappings are merged, everything else (lists too) is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def apply_override(mapping: dict[str, Any], override: str, root: type[Section] = Recipe) -> None:
    """Set `section.key=value` in place; the value is read as YAML, list items go by number."""
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(
            f"“{override}” is not an override",
            hint="write section.key=value, for example training.learning_rate=1e-3",
        )
    if len(keys) == 1 and keys[0] not in root.model_fields:
        raise _unknown_key(keys[0], "", override, root)
    value = yaml_file.parse(text, f"override {override}")
    target: Any = mapping
    for key in keys[:-1]:
        if isinstance(target, list):
            index = _list_index(target, key, override)
            # A source may be written as a word; it is a mapping all the same.
            target[index] = {"path": target[index]} if isinstance(target[index], str) else target[index]
            target = target[index]
        else:
            target = target.setdefault(key, {})
            if target is None:
                whole = ".".join(keys[: keys.index(key) + 1])
                raise RecipeError(
                    f"“{key}” holds no mapping",
                    where=f"override {override}",
                    hint=f"give it whole: {whole}={{{keys[-1]}: {text.strip()}, …}}",
                )
        if not isinstance(target, (dict, list)):
            raise RecipeError(f"“{key}” is a value, not a mapping", where=f"override {override}")
    if isinstance(target, list):
        target[_list_index(target, keys[-1], override)] = value
    else:
        target[keys[-1]] = value


def _list_index(target: list[Any], key: str, override: str) -> int:
    if not key.isdigit() or int(key) >= len(target):
        raise RecipeError(
            f"“{key}” is no item of a list of {len(target)}",
            where=f"override {override}",
            hint="items count from 0",
        )
    return int(key)


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The checked recipe of a preset (name or path) with overrides applied.

    Raises `RecipeError` for anything that cannot be used, with the nearest known key or the value
    that would be right.
    """
    # Defaults underneath, so that an override can reach into a list the preset does not mention.
    mapping = merge(Recipe().model_dump(mode="json"), load_mapping(name))
    for override in overrides:
        apply_override(mapping, override)
    return validate(mapping, name)


def validate(mapping: dict[str, Any], where: str) -> Recipe:
    """Check a mapping against the recipe's sections."""
    for section, value in mapping.items():
        if section in Recipe.model_fields and value is None:
            mapping = {**mapping, section: {}}
    try:
        return Recipe.model_validate(mapping)
    except ValidationError as error:
        raise explain(error, where) from None


def explain(error: ValidationError, where: str, root: type[Section] = Recipe) -> RecipeError:
    """The first thing that is wrong with a mapping, as an error that says what would be right."""
    problems = error.errors(include_url=False)
    # A wrong key is nearly always the cause of whatever else is reported.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    first, rest = problems[0], len(problems) - 1
    location = [part for part in first["loc"]]
    dotted = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        return _unknown_key(str(location[-1]), ".".join(str(part) for part in location[:-1]), where, root)
    if first["type"] in NOT_A_SECTION:
        return not_a_section(dotted, first["input"], dict(_fields_of(location, root)), where)
    message = first["msg"].removeprefix("Value error, ")
    shown = "" if first["type"] in ("missing", "value_error") else f", not {first['input']!r}"
    more = f" (and {rest} more)" if rest else ""
    return RecipeError(
        f"{dotted + ': ' if dotted else ''}{message[0].lower() + message[1:]}{shown}{more}",
        where=where,
        hint=_help_of(location, root),
    )


def _unknown_key(key: str, section: str, where: str, root: type[Section] = Recipe) -> RecipeError:
    siblings = dict(_fields_of(section.split(".") if section else [], root))
    hint = _did_you_mean(
        f"{section}.{key}" if section else key, [f"{section}.{s}" if section else s for s in siblings]
    )
    if not hint:
        elsewhere = [dotted for dotted in all_keys(root) if dotted.rpartition(".")[2] == key]
        hint = _did_you_mean(key, [d.rpartition(".")[2] for d in all_keys(root)]) if not elsewhere else ""
        hint = f"did you mean {elsewhere[0]}?" if elsewhere else hint
    place = f"in section “{section}”" if section else "in a recipe"
    return RecipeError(
        f"there is no key “{key}” {place}",
        where=where,
        hint=hint or f"known here: {', '.join(siblings) or ', '.join(root.model_fields)}",
    )


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def _fields_of(location: Sequence[Any], root: type[Section] = Recipe) -> Iterator[tuple[str, Any]]:
    """The fields of the section at a location, or nothing."""
    model: Any = root
    for part in location:
        if isinstance(part, int) or str(part).isdigit():
            continue
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return
        model = _section_class(field.annotation)
        if model is None:
            return
    yield from model.model_fields.items()


def _section_class(annotation: Any) -> type[BaseModel] | None:
    """The section inside `Section`, `list[Section]` or `Annotated[list[Section], …]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_class(inner)
        if found is not None:
            return found
    return None


def _help_of(location: Sequence[Any], root: type[Section] = Recipe) -> str:
    if not location:
        return ""
    field = dict(_fields_of(location[:-1], root)).get(str(location[-1]))
    if field is None or isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return ""  # what a whole section is says nothing of what is wrong in it
    return str(field.description or "")


def all_keys(root: type[Section] = Recipe) -> list[str]:
    """Every dotted key of a recipe."""
    return [
        f"{section}.{key}"
        for section, field in root.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    ]


def dump(recipe: Section, *, changed_only: bool = False) -> str:
    """The recipe as YAML, complete, or only what differs from the defaults."""
    return yaml_file.write(recipe.model_dump(mode="json", exclude_defaults=changed_only))


def difference(recipe: Recipe, baseline: Recipe) -> list[tuple[str, Any, Any]]:
    """The keys in which two recipes differ, as (dotted key, value here, value in the baseline)."""
    here, there = flatten(recipe.model_dump(mode="json")), flatten(baseline.model_dump(mode="json"))
    keys = list(dict.fromkeys([*here, *there]))
    return [(key, here.get(key), there.get(key)) for key in keys if here.get(key) != there.get(key)]


def flatten(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
