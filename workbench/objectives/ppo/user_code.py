"""A function from a folder of a person's own code, by the name `package.module:function`."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.errors import RecipeError

_NAME = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")
_EXAMPLE = "package.module:function, as in rewards.politeness:score"


def load_function(name: str, folder: Path) -> Callable[..., Any]:
    """Import a function. The folder comes first while its module is imported and stays on the path, last, for
    what the function imports later; a module of that name from elsewhere is refused, not taken."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise RecipeError(f"{name!r} names no function", hint=_EXAMPLE)
    folder = folder.resolve()
    if not folder.is_dir():
        raise RecipeError(f"no folder to import {name!r} from", where=str(folder))
    module_name, attribute = parts.groups()
    module = _import(module_name, name, folder)
    function = getattr(module, attribute, None)
    if function is None:
        found = sorted(key for key, value in vars(module).items() if inspect.isfunction(value))
        raise RecipeError(
            f"{module_name} has no {attribute!r}",
            where=str(folder),
            hint=f"it has {', '.join(found)}" if found else _EXAMPLE,
        )
    if not callable(function):
        raise RecipeError(f"{name!r} is not a function but {type(function).__name__}", where=str(folder))
    checked: Callable[..., Any] = function
    return checked


def _import(module_name: str, name: str, folder: Path) -> Any:
    path = str(folder)
    sys.path.insert(0, path)
    # Files may be new since the folder was last looked at.
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            file = module_name.replace(".", "/") + ".py"
            raise RecipeError(f"no module {module_name!r}", where=path, hint=f"the file {file}") from error
        raise RecipeError(f"{module_name} needs {error.name}, which is not installed", where=path) from error
    except Exception as error:
        raise RecipeError(
            f"{module_name} cannot be imported: {type(error).__name__}: {error}", where=path
        ) from error
    finally:
        sys.path.remove(path)
        if path not in sys.path:
            sys.path.append(path)
    origin = getattr(module, "__file__", None)
    if origin is None or not Path(origin).resolve().is_relative_to(folder):
        raise RecipeError(
            f"the module {module_name!r} that Python knows is not the one of the folder",
            where=path,
            hint=f"give the module another name; Python's is {origin or 'built in'}",
        )
    return module


def accepted(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Of the arguments those that a function takes; all where it takes any, or does not say."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return dict(given)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(given)
    return {name: value for name, value in given.items() if name in parameters}
