"""YAML as people expect it to read: `1e-4` is a number, `no` and `on` are words, `true` is a boolean.

PyYAML follows YAML 1.1, where `1e-4` is a string and `no` is false; the loader here uses the scalar
rules of YAML 1.2's core schema instead.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import RecipeError, storage_error


class CoreLoader(yaml.SafeLoader):
    """A safe loader with the scalar resolution of the YAML 1.2 core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf)|\.(nan|NaN)",
        "-+.0123456789",
    ),
):
    CoreLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )
# The empty scalar (`key:`) is looked up under the empty string.
CoreLoader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile(r"^$")))


def _no_duplicates(loader: CoreLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key “{key}” stands twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


def _float(loader: CoreLoader, node: yaml.ScalarNode) -> float:
    return float(str(node.value).replace(".inf", "inf").replace(".Inf", "inf").replace(".nan", "nan"))


def _int(loader: CoreLoader, node: yaml.ScalarNode) -> int:
    text = str(node.value).replace("_", "")
    return int(text, 16) if text.lower().startswith("0x") else int(text)


CoreLoader.add_constructor("tag:yaml.org,2002:map", _no_duplicates)
CoreLoader.add_constructor("tag:yaml.org,2002:float", _float)
CoreLoader.add_constructor("tag:yaml.org,2002:int", _int)


def parse(text: str, where: str) -> Any:
    """Parse one YAML value; `RecipeError` names the line that is wrong."""
    try:
        return yaml.load(text, Loader=CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark else where
        raise RecipeError(f"not valid YAML: {error.problem or error.context}", where=place) from None
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"not valid YAML: {error}", where=where) from None


def read(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"not a text file (byte {error.start} is not UTF-8)", where=str(path)) from None
    except OSError as error:
        raise storage_error(error, path) from None
    value = parse(text, str(path))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RecipeError(
            f"a recipe is a mapping of sections, this is a {type(value).__name__}",
            where=str(path),
            hint="start with a section, for example:\ntraining:\n  learning_rate: 1e-3",
        )
    return value


class _Dumper(yaml.SafeDumper):
    """Quotes whatever either version of YAML would not read back as the same text."""


def _write_text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # Quote what YAML 1.1 readers would take for something else than text ("no", "1e-4").
    plain = yaml.SafeLoader.yaml_implicit_resolvers
    resolvers = plain.get(value[:1], []) + CoreLoader.yaml_implicit_resolvers.get(value[:1], [])
    style = "'" if any(pattern.match(value) for _, pattern in resolvers) or value == "" else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _write_text)


def write(value: dict[str, Any]) -> str:
    """The mapping as YAML text, keys in the order given."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
