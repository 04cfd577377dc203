"""The table of contents of the interface: its tabs, the keys that work everywhere, its settings."""

from __future__ import annotations

import os
from collections.abc import Iterable

from textual.app import App, ComposeResult, SystemCommand
from textual.containers import Container
from textual.events import Key, Resize
from textual.reactive import reactive
from textual.screen import Screen

from workbench import terminal
from workbench.errors import WorkbenchError
from workbench.tui import preferences
from workbench.tui.commands import Command, bindings, palette_entries
from workbench.tui.settings import SYMBOLS
from workbench.tui.tabs import TABS, find
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.tab_strip import TabStrip
from workbench.tui.widgets.too_small import TooSmall, fits

TAB_COMMANDS = (
    Command(f"app.tab_{tab.id}", str(n), f"tab('{tab.id}')", tab.title, f"Go to the tab {tab.title}.", False)
    for n, tab in enumerate(TABS, 1)
)
COMMANDS = (
    *TAB_COMMANDS,
    Command("app.next_tab", "ctrl+right", "turn(1)", "next tab", "Go to the next tab.", False),
    Command("app.previous_tab", "ctrl+left", "turn(-1)", "previous tab", "Go to the previous tab.", False),
    Command("app.palette", "colon,ctrl+p", "command_palette", "commands", "Find a command by name.", False),
    Command("app.theme", "f2", "change_theme", "theme", "Choose a theme.", False),
    Command("app.symbols", "f3", "next_symbols", "symbols", "Draw with braille, blocks or ASCII.", False),
    Command("app.suspend", "ctrl+z", "suspend_process", "suspend", "Go to the shell; fg returns.", False),
    Command("app.help", "question_mark,f1", "help", "help", "Show every key."),
    Command("app.quit", "q", "quit", "quit", "Leave. Runs go on, and nothing is lost."),
)


class WorkbenchApp(App[None]):
    """The workbench. It holds no state that matters: everything shown comes from disk."""

    TITLE = "workbench"
    HELP_TITLE = "Everywhere"
    CSS = "#body { height: 1fr; } Toast { width: 76; max-width: 95%; }"
    BINDINGS = bindings(*COMMANDS)

    symbols: reactive[str] = reactive("braille", init=False)
    tab: reactive[str] = reactive("train", init=False)

    def __init__(self, initial_run: str | None = None, *, symbols: str | None = None) -> None:
        # Greys are colours too: under NO_COLOR none are sent at all.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.initial_run = initial_run
        self.keymap: dict[str, str] = {}
        self.problems: list[WorkbenchError] = []
        settings = preferences.apply(self)
        self.set_reactive(WorkbenchApp.symbols, symbols or settings.symbols or terminal.symbols())

    def compose(self) -> ComposeResult:
        choices = [(tab.id, str(number), tab.title) for number, tab in enumerate(TABS, 1)]
        yield TabStrip(choices, active=self.tab, id="tabs")
        yield Container(id="body")
        yield KeyBar()

    def on_mount(self) -> None:
        self.call_after_refresh(self.watch_tab)
        self.call_after_refresh(preferences.remember, self)

    def on_resize(self, event: Resize) -> None:
        if not fits(event.size) and not isinstance(self.screen, TooSmall):
            self.push_screen(TooSmall())
        elif fits(event.size) and isinstance(self.screen, TooSmall):
            self.pop_screen()

    def on_key(self, event: Key) -> None:
        # Keys typed ahead of a prompt went to what had the focus before it, and come by here unused.
        if isinstance(self.focused, Prompt) and event.is_printable and event.character:
            self.focused.insert_text_at_cursor(event.character)

    async def watch_tab(self) -> None:
        """Show the present tab, making its widget the first time."""
        home = self.screen_stack[0]
        body, strip = home.query_one("#body"), home.query_one("#tabs", TabStrip)
        if not body.query(f"#tab-{self.tab}"):
            await body.mount(find(self.tab).open())
        if not strip.is_attached:  # the app was closed meanwhile
            return
        # Whatever tab was asked for while this one was being made is the one to show.
        for child in body.children:
            child.display = child.id == f"tab-{self.tab}"
            if child.display:
                (child if child.focusable else next(iter(child.query("RunTable")), child)).focus()
        strip.active = self.tab

    def on_tab_strip_picked(self, message: TabStrip.Picked) -> None:
        self.tab = message.choice

    def action_tab(self, tab: str) -> None:
        self.tab = tab

    def action_turn(self, by: int) -> None:
        order = [tab.id for tab in TABS]
        self.tab = order[(order.index(self.tab) + by) % len(order)]

    def action_next_symbols(self) -> None:
        self.symbols = SYMBOLS[(SYMBOLS.index(self.symbols) + 1) % len(SYMBOLS)]

    def action_help(self) -> None:
        from workbench.tui.widgets.help_screen import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        return palette_entries(self, screen)


def run_app(initial_run: str | None = None, *, mouse: bool = True, symbols: str | None = None) -> int:
    """Open the interface, on `initial_run` if given; returns the exit status of the program."""
    app = WorkbenchApp(initial_run, symbols=symbols)
    app.run(mouse=mouse)
    return app.return_code or 0
