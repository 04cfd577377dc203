"""Published coefficients, kept as presets, and a user's own in `presets/scaling/laws` of the home."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from workbench import paths
from workbench.errors import UsageError
from workbench.recipe import yaml_file
from workbench.scaling.laws import AnyLaw, law_of

DEFAULT = "besiroglu"
"""The replication: the printed rounded coefficients of Hoffmann et al. give 93 tokens a parameter where the
models that they trained by them had 20."""
FOLDER = ("scaling", "laws")


@dataclass(frozen=True)
class PublishedLaw:
    """A law with its name and, in a line, where it comes from."""

    name: str
    law: AnyLaw
    source: str


def published_laws() -> list[PublishedLaw]:
    """All there are, the default first; a user's own take the place of the package's of the same name."""
    found: dict[str, Path] = {}
    for root in (paths.user_presets_dir(), paths.resources("presets")):
        for path in sorted(root.joinpath(*FOLDER).glob("*.yaml")):
            found.setdefault(path.stem, path)
    order = sorted(found, key=lambda name: (name != DEFAULT, name))
    return [_read(name, found[name]) for name in order]


def find_law(name: str) -> PublishedLaw:
    """One by name. Raises `UsageError`."""
    laws = published_laws()
    for law in laws:
        if law.name == name:
            return law
    names = [law.name for law in laws]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(names)}"
    raise UsageError(f"no law called “{name}” is known", where="--law", hint=hint)


def _read(name: str, path: Path) -> PublishedLaw:
    values = yaml_file.read(path)
    try:
        law = law_of(values)
        numbers = [value for key, value in values.items() if key not in ("form", "count")]
        if not all(isinstance(value, int | float) and value > 0 for value in numbers):
            raise TypeError("coefficients are numbers above 0")
        if law.count not in ("total", "non_embedding"):
            raise TypeError(f"count is total or non_embedding, not {law.count}")
    except TypeError as error:
        raise UsageError(
            f"the law cannot be read: {error}",
            where=str(path),
            hint="a law has form: hoffmann, count: total, and E, A, B, alpha, beta",
        ) from None
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    return PublishedLaw(name, law, first[1:].strip() if first.startswith("#") else "")
