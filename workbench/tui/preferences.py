"""Applying the user's settings to the app, and remembering what is changed in it."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from textual.binding import Binding

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
    app.problems = [*settings.problems, *problems]
    app.theme = settings.theme or ("ansi-dark" if _sixteen_colours(app) else "textual-dark")
    return settings


def _sixteen_colours(app: WorkbenchApp) -> bool:
    # Other themes are made of shades that sixteen colours cannot tell apart.
    return app.console.color_system == "standard" or "NO_COLOR" in os.environ


def _known_commands() -> set[str]:
    """The ids of all commands, for checking a `keys.yaml`; imports whatever defines some."""
    known = set(commands.REGISTRY)
    for name in tabs.WITH_COMMANDS:
        module = import_module(name)
        for value in vars(module).values():
            for binding in getattr(value, "BINDINGS", ()):
                if isinstance(binding, Binding) and binding.id:
                    known.add(binding.id)
    return known | set(commands.REGISTRY)


def remember(app: WorkbenchApp) -> None:
    """Show what was wrong in the settings, and from now on save every change of them."""
    for problem in app.problems:
        notify_error(app, problem)

    def save(**changes: str) -> None:
        def write() -> None:
            try:
                save_settings(**changes)
            except WorkbenchError as error:
                notify_error(app, error)

        app.run_worker(write, thread=True, group="settings")

    app.theme_changed_signal.subscribe(app, lambda theme: save(theme=theme.name))
    app.watch(app, "symbols", lambda symbols: save(symbols=symbols), init=False)


def report_clash(app: WorkbenchApp, clashed: set[Binding]) -> None:
    """Say once for each command that an overridden key took its own key away."""
    for binding in clashed:
        name = binding.id or binding.action
        if name in app.clashes:
            continue
        app.clashes.add(name)
        notify_error(
            app,
            SettingsError(
                f"the key {binding.key} is taken from “{name}”",
                where=str(keys_path()),
                hint=f"give “{name}” another key too",
            ),
        )
