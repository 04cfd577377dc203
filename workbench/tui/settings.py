"""What the interface remembers: `settings.yaml` (theme, symbols, annotator) and the user's `keys.yaml`.

Both are small files for people to edit. A mistake in one is reported with file and line, and the rest
of the file still counts.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from workbench import paths
from workbench.errors import UsageError, WorkbenchError, storage_error

if TYPE_CHECKING:
    import yaml

Symbols: TypeAlias = Literal["braille", "block", "ascii"]
SYMBOLS: tuple[Symbols, ...] = ("braille", "block", "ascii")


class SettingsError(UsageError):
    """A line of `settings.yaml` or `keys.yaml` that cannot be used."""

    title = "Settings"


@dataclass
class Settings:
    """The remembered choices; None where none was made. `problems` are shown once, at the start."""

    theme: str | None = None
    symbols: str | None = None
    annotator: str | None = None
    problems: list[WorkbenchError] = field(default_factory=list)


def settings_path() -> Path:
    return paths.home() / "settings.yaml"


def keys_path() -> Path:
    return paths.home() / "keys.yaml"


def load_settings(themes: Collection[str]) -> Settings:
    """Read `settings.yaml`; what is wrong in it becomes a problem, never an exception."""
    settings = Settings()
    # Whoever ranks may have any name.
    known: dict[str, Collection[str]] = {"theme": themes, "symbols": SYMBOLS, "annotator": ()}
    for key, value, where in _entries(settings_path(), settings.problems):
        if key not in known:
            settings.problems.append(_unknown("setting", key, known, where))
        elif known[key] and value not in known[key]:
            settings.problems.append(_unknown(key, value, known[key], where))
        else:
            setattr(settings, key, value)
    return settings


def annotator_setting() -> str:
    """The name under which this user ranks, empty where none was given; the file as it is now."""
    return next((value for key, value, _ in _entries(settings_path(), []) if key == "annotator"), "")


def save_settings(**changes: str) -> None:
    """Merge `changes` into `settings.yaml`. Raises `StorageError` when the disk refuses."""
    import yaml

    from workbench.store.files import replace_file

    path = settings_path()
    try:
        kept = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        kept = None
    merged = {**(kept if isinstance(kept, dict) else {}), **changes}
    paths.ensure_dir(path.parent)
    replace_file(path, yaml.safe_dump(merged, sort_keys=False).encode())


def load_keys(
    known_commands: Callable[[], Collection[str]],
) -> tuple[dict[str, str], list[WorkbenchError]]:
    """Read `keys.yaml`, lines of `id: key` or `id: [key, key]`, as a Textual keymap."""
    problems: list[WorkbenchError] = []
    keymap: dict[str, str] = {}
    entries = _entries(keys_path(), problems)
    known = known_commands() if entries else ()
    for key, value, where in entries:
        if key not in known:
            problems.append(_unknown("command", key, known, where))
        elif not value or any(char.isspace() for char in value):
            problems.append(
                SettingsError(f"“{value}” is no key", where=where, hint="for example S, ctrl+t, f5 or f5,S")
            )
        else:
            keymap[key] = value
    return keymap, problems


def _entries(path: Path, problems: list[WorkbenchError]) -> list[tuple[str, str, str]]:
    """The (key, value, place) of each line of a flat YAML mapping; no file is an empty one."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        problems.append(SettingsError("not a text file", where=str(path)))
        return []
    except OSError as error:
        problems.append(storage_error(error, path))
        return []
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problems.append(SettingsError(f"not valid YAML: {error.problem}", where=f"{path}, line {line}"))
        return []
    except yaml.YAMLError as error:
        problems.append(SettingsError(f"not valid YAML: {error}", where=str(path)))
        return []
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        problems.append(SettingsError("lines of “name: value” are expected", where=f"{path}, line 1"))
        return []
    return [
        (str(key.value), _scalar(value), f"{path}, line {key.start_mark.line + 1}")
        for key, value in root.value
    ]


def _scalar(node: yaml.Node) -> str:
    value: Any = node.value
    if isinstance(value, list):
        return ",".join(str(getattr(item, "value", "")) for item in value)
    return str(value)


def _unknown(kind: str, word: str, known: Collection[str], where: str) -> SettingsError:
    near = difflib.get_close_matches(word, list(known), n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
    return SettingsError(f"there is no {kind} “{word}”", where=where, hint=hint)
