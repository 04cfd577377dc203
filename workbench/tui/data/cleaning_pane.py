"""Cleaning: the steps of a recipe with their switches, what each did so far, and to which record."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench.tui.data.cleaning_keys import KEYS
from workbench.tui.data.cleaning_lines import (
    bar,
    card_lines,
    example_lines,
    report_lines,
    settings_lines,
    trial_lines,
)
from workbench.tui.data.cleaning_work import read_log, try_rules
from workbench.tui.text import reveal_control, short_number
from workbench.tui.widgets.pick_list import PickList
from workbench.tui.widgets.text_lines import Line, TextLines, plain

if TYPE_CHECKING:
    from workbench.tui.data.cleaning_draft import Draft, ReadLog

POLL_SECONDS = 0.7
_NOTHING = "no eval_sources: nothing to do"
WIDE = 130


class CleaningPane(Container):
    """Steps on top (or at the left), and beneath them the settings, examples, card or report."""

    HELP_TITLE = "Cleaning"
    DEFAULT_CSS = """
    CleaningPane { height: 1fr; }
    CleaningPane #cleaning-title { height: 1; background: $surface; padding: 0 1; }
    CleaningPane #cleaning-body { height: 1fr; layout: vertical; }
    CleaningPane.-wide #cleaning-body { layout: horizontal; }
    CleaningPane PickList { height: 12; border: none; padding: 0 1; background: $background; }
    CleaningPane.-reading PickList { height: 5; }
    CleaningPane.-wide PickList { height: 1fr; width: 76; }
    CleaningPane.-alone PickList { display: none; }
    CleaningPane TextLines { height: 1fr; width: 1fr; padding: 0 1; }
    """
    BINDINGS = KEYS

    class Asked(Message):
        """A question is to be asked: `set` or `preset`; `value` is what stands in the line already."""

        def __init__(self, what: str, value: str) -> None:
            super().__init__()
            self.what, self.value = what, value

    class Used(Message):
        """The result is to be a source."""

        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = "settings"
        self._number = 0
        self._reason = ""
        self._tried: dict[str, Any] | None = None
        self._said = ""
        self._shown: object = None
        self._reading: tuple[str, str] | None = None

    def compose(self) -> ComposeResult:
        yield Static("", id="cleaning-title", markup=False)
        with Horizontal(id="cleaning-body"):
            yield PickList(compact=True)
            yield TextLines()

    def on_mount(self) -> None:
        self.set_interval(POLL_SECONDS, self.look)

    def on_resize(self) -> None:
        self.set_class(self.size.width >= WIDE, "-wide")
        self._shown = None
        self.look()

    @cached_property
    def draft(self) -> Draft:
        """What is shown; made when it is first looked at, for the recipe's sections take a while to build."""
        from workbench.tui.data.cleaning_draft import Draft

        return Draft()

    @property
    def steps(self) -> PickList:
        return self.query_one(PickList)

    @property
    def lines(self) -> TextLines:
        return self.query_one(TextLines)

    @property
    def step(self) -> str:
        """The step under the cursor."""
        names = self.draft.names()
        return names[min(self.steps.highlighted or 0, len(names) - 1)]

    def take(self, sources: list[dict[str, Any]]) -> None:
        """The sources of the recipe that the tab is about: what a new cleaning cleans."""
        self.draft.use(sources)
        self._shown = None
        self.look()

    def say(self, text: str) -> None:
        """A word about what is going on."""
        self._said = text
        self._title()

    # What is on screen follows from the draft, the folder and the view; nothing is drawn that did not change.

    def look(self) -> None:
        """Read the folder again, and show what changed."""
        if not self.is_attached or not all(
            getattr(node, "display", True) for node in self.ancestors_with_self
        ):
            return
        state = (self.draft.reading(), self.steps.highlighted, self.view, self._number, self._reason)
        if state == self._shown:
            return
        self._shown = state
        self._title()
        self._fill()
        self._show()

    def _title(self) -> None:
        self.query_one("#cleaning-title", Static).update(reveal_control(self.draft.title(self._said)))

    def _fill(self) -> None:
        rows = self.draft.rows()
        kept = self.steps.highlighted or 0
        if len(rows) != self.steps.option_count:
            self.steps.clear_options()
            self.steps.add_options([Option(self._row(row)) for row in rows])
            self.steps.highlighted = min(kept, len(rows) - 1)
            return
        for number, row in enumerate(rows):
            self.steps.replace_option_prompt_at_index(number, self._row(row))

    def _row(self, row: dict[str, Any]) -> Text:
        mark = "x" if row["enabled"] else " "
        text = Text(f"[{mark}] {row['name']:<18}", no_wrap=True)
        if not row["came"]:
            return text.append(_NOTHING if row["idle"] else "" if row["enabled"] else "off", "dim")
        kept, changed, dropped = bar(row, 14, str(getattr(self.app, "symbols", "braille")))
        text.append(kept, "green").append(changed, "yellow").append(dropped, "red")
        numbers = f" {short_number(row['came']):>6} in {short_number(row['changed']):>6} changed"
        return text.append(f"{numbers} {short_number(row['dropped']):>6} dropped")

    def _show(self) -> None:
        self.set_class(self.view in ("card", "report"), "-alone")
        self.set_class(self.view in ("examples", "trial"), "-reading")
        shown: dict[str, Any] = {
            "settings": self._settings,
            "examples": self._examples,
            "card": lambda: card_lines(self.draft.card()),
            "report": lambda: report_lines(self.draft.report()),
            "trial": lambda: trial_lines(self._tried or {}),
        }
        self.lines.set_lines(shown[self.view]())

    def _settings(self) -> list[Line]:
        error = self.draft.error()
        lines = [plain(reveal_control(line), "bad") for line in error.split("\n")] if error else []
        return lines + settings_lines(self.step, self.draft.settings(self.step), self.draft.counts(self.step))

    def _examples(self) -> list[Line]:
        log = self.draft.log(self.step, self._reason)
        if self.draft.is_behind(self.step, self._reason):
            self._read()
            if log is None:
                return [plain("reading …", "dim")]
        if log is None or not len(log):
            return [plain(f"{self.step} has dropped and changed nothing so far", "dim")]
        self._number = max(0, min(self._number, len(log) - 1))
        head = f"{self.step} {self._number + 1:,} of {len(log):,}" + (
            f", {self._reason} only" if self._reason else ""
        )
        keys = "[ ] turn, f by reason, esc back"
        try:
            record = example_lines(log.get(self._number))
        except (OSError, ValueError):
            # Removed meanwhile, or damaged by hand.
            record = [plain("it could not be read", "bad")]
        return [((head, "title"), (f"   {keys}", "dim")), *record]

    def _read(self) -> None:
        wanted = (self.step, self._reason)
        # One that is at it is let be, and what came meanwhile is read behind it.
        if self._reading != wanted:
            self._reading = wanted
            read_log(self, *wanted)

    @on(OptionList.OptionHighlighted)
    def _moved(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        if self.view == "examples":
            self._number, self._reason = 0, ""
        self.look()

    @on(OptionList.OptionSelected)
    def _selected(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.action_examples()

    # What the keys do.

    def action_switch(self) -> None:
        self._safely(lambda: self.draft.switch(self.step))

    def action_ask(self, what: str) -> None:
        self.post_message(self.Asked(what, f"{self.step}." if what == "set" else ""))

    def answer(self, what: str, text: str) -> None:
        """What was typed to a question."""
        self._safely(lambda: self.draft.set(text) if what == "set" else self.draft.open(text))
        self.view = "settings"
        self.look()

    def action_go(self) -> None:
        self._safely(self.draft.start)

    def action_stop(self) -> None:
        self._safely(self.draft.stop)

    def action_examples(self) -> None:
        self.view, self._number, self._reason = "examples", 0, ""
        self.look()

    def action_example(self, by: int) -> None:
        if self.view == "examples":
            self._number += by
            self.look()

    def action_reason(self) -> None:
        """The next of the reasons, and after the last all of them."""
        if self.view != "examples":
            return
        reasons = ["", *self.draft.reasons(self.step)]
        here = reasons.index(self._reason) if self._reason in reasons else 0
        self._reason, self._number = reasons[(here + 1) % len(reasons)], 0
        self.look()

    def action_view(self, view: str) -> None:
        self.view = "settings" if self.view == view else view
        self.look()
        (self.lines if self.view == view else self.steps).focus()

    def action_back(self) -> None:
        self.view = "settings"
        self.steps.focus()
        self.look()

    def action_use(self) -> None:
        if path := self.draft.result():
            self.post_message(self.Used(path))
        else:
            self.say("there is no result yet")

    def action_try(self) -> None:
        """Try the rules on some records."""
        try_rules(self)

    def take_trial(self, found: dict[str, Any]) -> None:
        """What came of the rules that were tried."""
        self._tried, self.view = found, "trial"
        self.say("tried; nothing was written")
        self.look()

    def take_log(self, found: ReadLog | None) -> None:
        """A log that was read, or could not be."""
        self._reading = None
        if found is None:
            self.lines.set_lines([plain("the log could not be read", "bad")])
            return
        self.draft.take_log(found)
        self._shown = None
        self.look()

    def _safely(self, do: Any) -> None:
        from workbench.errors import WorkbenchError
        from workbench.tui.notices import notify_error

        self._said = ""
        try:
            do()
        except WorkbenchError as error:
            notify_error(self.app, error)
        self._shown = None
        self.look()
