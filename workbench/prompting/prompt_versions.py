"""Saving prompts so that no version of one is lost: `prompts/.versions/NAME/HASH.yaml`."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import PromptError
from workbench.paths import ensure_dir
from workbench.prompting.prompt import Prompt, parse_prompt
from workbench.prompting.prompts import check_name, find_prompt, read_text, user_prompts_dir
from workbench.store.files import replace_file


@dataclass(frozen=True)
class PromptVersion:
    """A version that was saved, or that stood there when another was; `saved` in seconds since the epoch."""

    version: str
    path: Path
    saved: float
    current: bool


def save_prompt(name: str, text: str) -> Prompt:
    """Put a prompt into the user's folder; what the name stood for so far is kept as a version.

    Raises `PromptError` for a text that is no prompt, and changes nothing then; `StorageError`.
    """
    path = user_prompts_dir() / f"{check_name(name)}.yaml"
    prompt = parse_prompt(text, name, path)
    prompt.technique()
    ensure_dir(path.parent)
    # Nothing may have stood there, or no text.
    with contextlib.suppress(PromptError):
        keep_version(name, read_text(find_prompt(name)))
    keep_version(name, text)
    replace_file(path, text.encode(), durable=True)
    return prompt


def keep_version(name: str, text: str) -> str:
    """Keep a text among a prompt's versions; returns its version. One that is no prompt is kept too."""
    try:
        version = parse_prompt(text, name).version
    except PromptError:
        version = hashlib.sha256(text.encode()).hexdigest()[:12]
    path = ensure_dir(_folder(name)) / f"{version}.yaml"
    # One that is there already keeps its time.
    if not path.exists() or read_text(path) != text:
        replace_file(path, text.encode())
    return version


def prompt_versions(name: str) -> list[PromptVersion]:
    """All kept versions of a prompt, the latest first; `current` is the one the name stands for now."""
    try:
        now = parse_prompt(read_text(find_prompt(check_name(name))), name).version
    except PromptError:
        now = ""
    found = [
        PromptVersion(path.stem, path, path.stat().st_mtime, path.stem == now)
        for path in _folder(name).glob("[!.]*.yaml")
    ]
    return sorted(found, key=lambda item: (item.saved, item.version), reverse=True)


def load_version(name: str, version: str) -> Prompt:
    """A kept version, by its hash or the beginning of it. Raises `PromptError`."""
    known = prompt_versions(name)
    fits = [item for item in known if version and item.version.startswith(version)]
    if len(fits) != 1:
        have = ", ".join(item.version for item in known) or "none"
        raise PromptError(
            f"{'several versions' if fits else 'no version'} of the prompt {name} “{version}”",
            hint=f"kept are: {have}",
        )
    return parse_prompt(read_text(fits[0].path), name, fits[0].path)


def restore_prompt(name: str, version: str) -> Prompt:
    """Make a kept version the one that the name stands for; the present one is kept in turn."""
    return save_prompt(name, load_version(name, version).text)


def _folder(name: str) -> Path:
    return user_prompts_dir() / ".versions" / check_name(name)
