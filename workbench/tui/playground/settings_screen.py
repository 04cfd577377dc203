"""A form over settings: the techniques and theirs, or how tokens are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.tui.commands import Command, bindings
from workbench.tui.form.editor import FormEditor
from workbench.tui.notices import notify
from workbench.tui.text import reveal_control
from workbench.tui.widgets.key_bar import KeyBar

if TYPE_CHECKING:
    from workbench.tui.playground.settings_draft import SettingsDraft


class SettingsScreen(ModalScreen[bool]):
    """Changes a draft in place; dismisses with whether it is to be used."""

    HELP_TITLE = "Settings"
    DEFAULT_CSS = """
    SettingsScreen { background: $background; }
    SettingsScreen #settings-title { height: 1; background: $panel; text-style: bold; padding: 0 1; }
    SettingsScreen .form-about { height: 4; }
    """
    BINDINGS = bindings(
        Command("settings.use", "ctrl+j,f5", "use", "use", "Use these settings."),
        Command("settings.back", "escape", "back", "done", "Use these settings, and go back."),
        Command("settings.help", "question_mark,f1", "app.help", "help", "Show every key.", footer=False),
    )

    def __init__(self, title: str, draft: SettingsDraft) -> None:
        super().__init__()
        self._title, self._draft = title, draft
        self._warned = False

    def compose(self) -> ComposeResult:
        yield Static(reveal_control(self._title), id="settings-title", markup=False)
        yield FormEditor(lambda draft: self._draft.fields(), self._draft.heading)
        yield KeyBar()

    def on_mount(self) -> None:
        form = self.query_one(FormEditor)
        form.fields.symbols = getattr(self.app, "symbols", "braille")
        form.show(self._draft)
        form.fields.focus()

    def action_use(self) -> None:
        form = self.query_one(FormEditor)
        if not self._draft.problems:
            self.dismiss(True)
        else:
            key = form.show_problem()
            notify(self.app, f"{key}: {self._draft.problems[key]}")

    def action_back(self) -> None:
        """One step back; settings that are wrong are left as they were, once that has been said."""
        if self.query_one(FormEditor).step_back():
            return
        if not self._draft.problems:
            self.dismiss(True)
        elif self._warned:
            self.dismiss(False)
        else:
            self._warned = True
            self.action_use()
            notify(self.app, "esc again leaves everything as it was")
