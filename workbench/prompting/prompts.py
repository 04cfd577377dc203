"""Prompt files: the user's own in `<home>/prompts`, and those the package carries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from workbench import paths
from workbench.errors import PromptError, WorkbenchError, storage_error
from workbench.prompting.prompt import Prompt, first_comment, parse_prompt
from workbench.prompting.validation import did_you_mean

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class PromptFile:
    """A prompt that can be named; it has not been checked."""

    name: str
    path: Path
    description: str
    builtin: bool


def user_prompts_dir() -> Path:
    """The user's own prompts; they come before those the package carries."""
    return paths.home() / "prompts"


def prompt_roots() -> list[tuple[Path, bool]]:
    """The folders with prompts, and whether they are the package's."""
    return [(user_prompts_dir(), False), (paths.resources("presets") / "prompts", True)]


def list_prompts() -> list[PromptFile]:
    """All prompts by name, a user's own in the place of the package's of the same name."""
    found: dict[str, PromptFile] = {}
    for root, builtin in prompt_roots():
        for path in sorted(root.glob("*.yaml")):
            found.setdefault(path.stem, PromptFile(path.stem, path, _description(path), builtin))
    return sorted(found.values(), key=lambda item: item.name)


def find_prompt(name: str) -> Path:
    """The file of a prompt given by name or by path. Raises `PromptError`."""
    as_path = Path(name).expanduser()
    if as_path.suffix in (".yaml", ".yml") or name.startswith((".", "/", "~")):
        if as_path.is_file():
            return as_path
        raise PromptError("no such prompt file", where=str(as_path))
    for root, _ in prompt_roots() if NAME.fullmatch(name) else ():
        path = root / f"{name}.yaml"
        if path.is_file():
            return path
    known = [item.name for item in list_prompts()]
    raise PromptError(
        f"there is no prompt called “{name}”",
        hint=did_you_mean(name, known) or f"one of {', '.join(known)}, or a file that ends in .yaml",
    )


def load_prompt(name: str) -> Prompt:
    """The checked prompt of a name or path. Raises `PromptError` naming file and line."""
    path = find_prompt(name)
    return parse_prompt(read_text(path), path.stem, path)


def read_text(path: Path) -> str:
    """The text of a prompt file. Raises `PromptError`, `StorageError`."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PromptError(f"not a text file (byte {error.start} is not UTF-8)", where=str(path)) from None
    except OSError as error:
        raise storage_error(error, path) from None


def check_name(name: str) -> str:
    """A name that a prompt can be saved under. Raises `PromptError`."""
    if not NAME.fullmatch(name):
        raise PromptError(
            f"“{name}” cannot be the name of a prompt",
            hint="letters, digits, dots, dashes and underscores, the first a letter or digit",
        )
    return name


def _description(path: Path) -> str:
    """A file's description; empty where it cannot be read, so that one bad file hides no other."""
    try:
        text = read_text(path)
        return first_comment(text) or parse_prompt(text, path.stem, path).description
    except WorkbenchError:
        return ""
