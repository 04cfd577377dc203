"""Applying the user's settings to the app, and remembering what is changed in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.keys import _character_to_key

from workbench.errors import WorkbenchError
from workbench.tui import commands, tabs
from workbench.tui.notices import notify_error
from workbench.tui.settings import Settings, SettingsError, keys_path, load_keys, load_settings, save_settings

if TYPE_CHECKING:
    from workbench.tui.app import WorkbenchApp


def apply(app: WorkbenchApp) -> Settings:
    """Set theme and keys; what is wrong in their files waits for `remember` to show it."""
    settings = load_settings(app.available_themes)
    keymap, problems = load_keys(_known_commands)
    app.set_keymap(keymap)
    app.keymap = keymap
    app.problems = [*settings.problems, *problems, *_clashes(keymap)]
    app.theme = settings.theme or ("ansi-dark" if _sixteen_colours(app) else "textual-dark")
    return settings


def _sixteen_colours(app: WorkbenchApp) -> bool:
    # Other themes are made of shades that sixteen colours cannot tell apart.
    return app.console.color_system == "standard" or "NO_COLOR" in os.environ


def _known_commands() -> dict[str, str]:
    """The keys of all commands by id, for checking a `keys.yaml`; imports whatever defines some."""
    known: dict[str, str] = {}
    for name in tabs.WITH_COMMANDS:
        for value in vars(import_module(name)).values():
            for binding in getattr(value, "BINDINGS", ()):
                if isinstance(binding, Binding) and binding.id:
                    known[binding.id] = binding.key
    return {**known, **commands.REGISTRY}


def _clashes(keymap: dict[str, str]) -> Iterator[WorkbenchError]:
    """Keys that are given to one command and were another's in the same place."""
    known = _known_commands() if keymap else {}
    keys = {name: _split(keymap.get(name, default)) for name, default in known.items()}
    for name in keymap:
        place = name.partition(".")[0]
        for other, taken in keys.items():
            both = keys[name] & taken
            if both and other != name and place == other.partition(".")[0]:
                yield SettingsError(
                    f"{', '.join(sorted(both))} is the key of both “{name}” and “{other}”",
                    where=str(keys_path()),
                    hint=f"give “{other}” another key too",
                )


def _split(keys: str) -> set[str]:
    return {_character_to_key(key) if len(key) == 1 else key for key in keys.split(",")}


def remember(app: WorkbenchApp) -> None:
    """Show what was wrong in the settings, and from now on save every change of them."""
    if not app.is_running:
        return  # It was closed before its first screen stood.
    for problem in app.problems:
        notify_error(app, problem)

    # One writer at a time, each with all that was changed: two at once would lose the one's change.
    changed: dict[str, str] = {}
    writing = Lock()

    def save(**changes: str) -> None:
        changed.update(changes)

        def write() -> None:
            try:
                with writing:
                    save_settings(**changed)
            except WorkbenchError as error:
                notify_error(app, error)

        app.run_worker(write, thread=True, group="settings")

    app.theme_changed_signal.subscribe(app, lambda theme: save(theme=theme.name))
    app.watch(app, "symbols", lambda symbols: save(symbols=symbols), init=False)
