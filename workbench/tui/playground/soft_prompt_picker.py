"""Choosing a soft prompt of a column's model, with what its vectors read like under the list."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on
from textual.widgets import OptionList

from workbench.errors import WorkbenchError
from workbench.tui.commands import Command, bindings
from workbench.tui.playground.backstage import Backstage
from workbench.tui.playground.odds import shown_token
from workbench.tui.playground.picker import Entry, Picker
from workbench.tui.playground.setup import Setup

if TYPE_CHECKING:
    from workbench.inference.remote_soft_prompts import SoftPromptInfo

TITLE = "Soft prompt"
PLACEHOLDER = "words of its name, or a folder that PEFT has saved"
NONE = "none"
NO_SOFT_PROMPTS = (
    "No soft prompts for this model yet. A run with tuning.method prompt or prefix makes one; a folder of "
    "PEFT's can be typed above."
)
SYSTEM_HELP = "Send the system message as well, or the soft prompt in its place."
NO_READING = "keys and values in every layer: they lie next to no tokens"


class SoftPromptPicker(Picker[str]):
    """Dismisses with the name of a soft prompt, a folder, or "" for none; `keeps_system` tells whether a
    written system message is sent as well."""

    BINDINGS = bindings(
        Command("pick.system", "tab", "system", "with system", SYSTEM_HELP, priority=True),
    )

    def __init__(self, backstage: Backstage, setup: Setup) -> None:
        assert setup.model is not None
        super().__init__(TITLE, PLACEHOLDER, [Entry(NONE, "", "the model as it is")])
        self._backstage, self._model = backstage, setup.model
        self._work: list[Future[Any]] = []
        self._names: dict[str, str] = {}
        """Of those that are listed, by their values."""
        self._read: dict[str, str] = {}
        self._asked = ""
        self._status = ""
        self.keeps_system = setup.keeps_system
        self.at = setup.soft_prompt

    def on_mount(self) -> None:
        self._show_title()
        self._say("asking the engine …")

        def say(words: str) -> None:
            self.call_later(self._say, words)

        # From the other thread all of these only post a message.
        listing = self._backstage.run(self._backstage.catalog.soft_prompts(self._model, say))
        listing.add_done_callback(self._listed)
        self._work.append(listing)

    def on_unmount(self) -> None:
        for work in self._work:
            work.cancel()

    def _listed(self, done: Future[list[SoftPromptInfo]]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self.call_later(self._take, done.result())
        else:
            self.call_later(self._say, _words_of(error))

    def _take(self, listed: Sequence[SoftPromptInfo]) -> None:
        if not self.is_attached:
            return
        self._say("" if listed else NO_SOFT_PROMPTS)
        entries = [Entry(one.name, self._value_of(one), one.about) for one in listed]
        self._names = {str(entry.value): entry.title for entry in entries}
        self.add(entries)

    def _value_of(self, info: SoftPromptInfo) -> str:
        """Its folder, where another engine of this machine would call it the same by it: names that were
        given to a running one end with that."""
        from workbench.inference.remote_soft_prompts import name_of

        is_local = self._model.kind == "local" and bool(info.folder)
        return info.folder if is_local and name_of(Path(info.folder)) == info.name else info.name

    # What one of them says.

    @on(OptionList.OptionHighlighted)
    def _moved(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        value = self.chosen.value if self.chosen is not None else None
        self._asked = self._names.get(value or "", "")
        if self._asked and self._asked not in self._read:
            self._read[self._asked] = "reading it …"
            asked = self._asked
            work = self._backstage.run(self._backstage.catalog.described(self._model, asked))
            work.add_done_callback(lambda done: self._described(asked, done))
            self._work.append(work)
        self._tell()

    def _described(self, name: str, done: Future[SoftPromptInfo]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        words = reading_of(done.result()) if error is None else _words_of(error)
        self.call_later(self._take_reading, name, words)

    def _take_reading(self, name: str, words: str) -> None:
        self._read[name] = words
        if self.is_attached:
            self._tell()

    def _say(self, words: str) -> None:
        self._status = words
        if self.is_attached:
            self._tell()

    def _tell(self) -> None:
        self.say(self._read.get(self._asked) or self._status)

    # Beside a written system message, or in its place.

    def action_system(self) -> None:
        self.keeps_system = not self.keeps_system
        self._show_title()

    def _show_title(self) -> None:
        how = "beside the system message" if self.keeps_system else "in place of the system message"
        self.set_title(f"{TITLE}, {how} (tab)")

    def typed_entries(self, text: str) -> list[Entry[str]]:
        """The text itself, as a folder."""
        return [Entry(text, str(Path(text).expanduser()), "a folder, as typed")] if "/" in text else []


def reading_of(info: SoftPromptInfo) -> str:
    """The token that is nearest to each virtual token, with its cosine; in their order."""
    if info.nearest is None:
        return NO_READING
    words = (f"{shown_token(place[0][0].strip())} {place[0][1]:.2f}" for place in info.nearest if place)
    return "nearest tokens, with cosines: " + " · ".join(words)


def _words_of(error: BaseException) -> str:
    if isinstance(error, WorkbenchError):
        return f"{error.message}. {error.hint}" if error.hint else error.message
    return f"{type(error).__name__}: {error}"
