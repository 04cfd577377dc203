"""Choosing a model: those of this machine and of all servers, or any that one can name."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from textual import on
from textual.widgets import OptionList

from workbench.errors import WorkbenchError
from workbench.tui.commands import Command, bindings
from workbench.tui.notices import notify_error
from workbench.tui.playground.backstage import Backstage
from workbench.tui.playground.catalog import Listed
from workbench.tui.playground.picker import Entry, Picker
from workbench.tui.playground.setup import ModelChoice

TITLE = "Model"
PLACEHOLDER = "words of its name; or a folder, a run, a hub name, http://host:port/v1"
NO_MODELS = "No models here yet. In a shell: workbench pull SmolLM2-135M-Instruct"
OPTIONS_HELP = "Take it, and choose precision, memory, adapter and so on of the engine to be started."
ASKING = "asking the servers …"


class ModelPicker(Picker[ModelChoice | str]):
    """Dismisses with a choice, or with a text that is to be understood as one.

    `with_options` tells whether the options of its engine are to be chosen, too.
    """

    BINDINGS = bindings(
        Command("pick.options", "tab", "options", "engine options", OPTIONS_HELP, priority=True),
    )

    def __init__(self, backstage: Backstage, at: ModelChoice | None) -> None:
        super().__init__(TITLE, PLACEHOLDER)
        self._backstage = backstage
        self._listing: Future[None] | None = None
        self.at = at
        self.with_options = False

    def on_mount(self) -> None:
        self.say(ASKING)
        # From the other thread both only post a message.
        catalog = self._backstage.catalog
        self._listing = self._backstage.run(
            catalog.listing(lambda listed: self.call_later(self._take, list(listed)))
        )
        self._listing.add_done_callback(self._listed_all)

    def on_unmount(self) -> None:
        if self._listing is not None:
            self._listing.cancel()

    def _take(self, listed: Sequence[Listed]) -> None:
        if self.is_attached:
            self.add([_entry(one) for one in listed])

    def _listed_all(self, done: Future[None]) -> None:
        if not done.cancelled():
            error = done.exception()
            self.call_later(self._end, error if isinstance(error, WorkbenchError) else None)

    def _end(self, error: WorkbenchError | None) -> None:
        if error is not None:
            notify_error(self.app, error)
        self.say("" if any(entry.value is not None for entry in self.entries) else NO_MODELS)

    def action_options(self) -> None:
        self.with_options = True
        self.action_take()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "options" or not self.is_mounted:
            return True
        # What a server runs, and how, is the server's to say.
        value = self.chosen.value if self.chosen is not None else None
        return isinstance(value, str) or (value is not None and value.kind == "local")

    @on(OptionList.OptionHighlighted)
    def _moved(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        self.refresh_bindings()

    def typed_entries(self, text: str) -> list[Entry[ModelChoice | str]]:
        """The text itself, as the name of something that is not in the list."""
        return [Entry(text, text, "a folder, run, hub name or address, as typed")] if text else []


def _entry(listed: Listed) -> Entry[ModelChoice | str]:
    if listed.problem:
        return Entry(listed.choice.server, None, f"{listed.problem} ({listed.about})")
    return Entry(listed.choice.label, listed.choice, listed.about, listed.group)
