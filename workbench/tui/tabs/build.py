"""The Build tab: the shape of a model, changed by keyboard, with what follows from it beside.

What is on screen follows from the draft; every change of it makes a design, its findings and its
estimate, and all panes are drawn again from these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Resize
from textual.reactive import reactive
from textual.widgets import Input, OptionList

from workbench.errors import WorkbenchError
from workbench.recipe.families import FAMILIES
from workbench.tui.build.actions import DesignActions
from workbench.tui.build.attention_pane import draw_attention
from workbench.tui.build.canvas import fit
from workbench.tui.build.checks import findings_of
from workbench.tui.build.checks_pane import draw_findings
from workbench.tui.build.chooser import Chooser, Start, starts
from workbench.tui.build.commands import COMMANDS, PANES
from workbench.tui.build.design import design_of
from workbench.tui.build.drawing import draw_design
from workbench.tui.build.estimates_pane import draw_estimates
from workbench.tui.build.fields import family_of, fields_of, follow_family, group_of
from workbench.tui.build.length_pane import draw_lengths
from workbench.tui.build.pane_area import PaneArea
from workbench.tui.build.reckoning import memory_findings
from workbench.tui.commands import bindings
from workbench.tui.form.editor import FormEditor
from workbench.tui.form.recipe_draft import RecipeDraft
from workbench.tui.notices import notify_error
from workbench.tui.text import reveal_control
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.tab_strip import TabStrip

if TYPE_CHECKING:
    from textual.widget import Widget

WIDE, TALL, BESIDE = 150, 44, 76
STRIP = 63
"""Columns that the names of the panes take."""


class BuildTab(DesignActions):
    """Everything about the shape of a model."""

    HELP_TITLE = "Build"
    DEFAULT_CSS = """
    BuildTab { height: 1fr; }
    BuildTab #build-body { layout: horizontal; height: 1fr; }
    BuildTab #design { width: 46%; height: 1fr; }
    BuildTab .form-about { height: 5; }
    BuildTab.-wide #design { width: 33%; }
    BuildTab.-wide .form-about { height: 6; }
    BuildTab FormList { scrollbar-size-vertical: 1; }
    BuildTab.-choosing FormEditor { display: none; }
    BuildTab.-form Chooser { display: none; }
    BuildTab.-opened #design { display: none; }
    BuildTab.-wide #design { display: block; }
    BuildTab.-narrow #design, BuildTab.-narrow PaneArea { width: 1fr; }
    BuildTab.-narrow PaneArea { display: none; }
    BuildTab.-narrow.-pane PaneArea { display: block; }
    BuildTab.-narrow.-pane #design { display: none; }
    """
    BINDINGS = bindings(*COMMANDS)

    pane: reactive[str] = reactive("drawing", init=False)
    pane_open: reactive[bool] = reactive(False, init=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._drafts: dict[Start, RecipeDraft] = {}
        self._family = FAMILIES["llama"]
        self._start: Start | None = None

    def compose(self) -> ComposeResult:
        panes = [(pane.id, pane.key, pane.label) for pane in PANES]
        yield TabStrip(panes, active=self.pane, id="build-strip")
        with Container(id="build-body"):
            with Container(id="design"):
                yield Chooser()
                yield FormEditor(fields_of, group_of)
                yield Prompt("", id="build-prompt")
            yield PaneArea()

    def on_mount(self) -> None:
        if not self.children:  # the app is being closed, and nothing was composed
            return
        self.set_class(True, "-choosing")
        self.area.show_pane(self.pane)
        self.watch(self.app, "symbols", self._symbols_changed)
        self.list_starts()

    def on_unmount(self) -> None:
        self.close_inspector()

    def focus(self, scroll_visible: bool = True) -> BuildTab:
        """The list or the form has the keys, the tab itself has none."""
        if self.query(Chooser):
            self.place.focus(scroll_visible)
        elif self.is_attached:
            # A key came before the tab was composed.
            self.call_after_refresh(self.focus, scroll_visible)
        return self

    @property
    def area(self) -> PaneArea:
        return self.query_one(PaneArea)

    @property
    def chooser(self) -> Chooser:
        return self.query_one(Chooser)

    @property
    def form(self) -> FormEditor:
        return self.query_one(FormEditor)

    @property
    def prompt(self) -> Prompt:
        return self.query_one("#build-prompt", Prompt)

    @property
    def place(self) -> Widget:
        """What has the keys when no pane has them."""
        return self.form.fields if self.has_class("-form") else self.chooser

    @property
    def in_pane(self) -> bool:
        focused = self.app.focused
        return focused is not None and self.area in focused.ancestors

    def list_starts(self) -> None:
        def read() -> None:
            try:
                found = starts()
            except WorkbenchError as error:
                notify_error(self.app, error)
                return
            # It only posts a message: by then the tab may be on its way out.
            self.call_later(show, found)

        def show(found: list[Start]) -> None:
            if self.query(Chooser):
                self.chooser.show(found, self._start)

        self.run_worker(read, thread=True, group="presets", exclusive=True)

    def on_resize(self, event: Resize) -> None:
        wide = event.size.width >= WIDE and event.size.height >= TALL
        self.set_class(wide, "-wide")
        self.set_class(event.size.width < BESIDE, "-narrow")
        self.area.set_class(wide, "-all")
        # Where there is room for one of both, what has the keys is the one to show.
        self.pane_open = self.in_pane
        self.redraw()

    @property
    def strip(self) -> TabStrip:
        return self.query_one("#build-strip", TabStrip)

    def wait_for(self, words: str) -> None:
        self.waiting = words
        self._show_state()

    # What is chosen.

    @on(OptionList.OptionHighlighted)
    def _start_seen(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        start = self.chooser.start
        if start is not None and self.has_class("-choosing"):
            self._begin(start, quiet=True)

    @on(OptionList.OptionSelected)
    def _start_chosen(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        start = self.chooser.start
        if start is None or not self._begin(start):
            return
        self.set_class(False, "-choosing")
        self.set_class(True, "-form")
        self.form.show(self.draft)
        self.form.fields.focus()

    def _begin(self, start: Start, *, quiet: bool = False) -> bool:
        """A fresh draft of a start; what is wrong with its file is said when it is opened."""
        try:
            # What was changed is still there after a look at another preset.
            self.draft = self._drafts.get(start) or RecipeDraft(start.source, start.stem)
            self._drafts[start], self._start = self.draft, start
        except WorkbenchError as error:
            self.draft = None
            self._start = start
            self.say_broken(error)
            self.redraw()
            if not quiet:
                notify_error(self.app, error)
            return False
        self._family = family_of(self.draft)
        self.draft_changed()
        return True

    @on(FormEditor.Changed)
    def _form_changed(self, message: FormEditor.Changed) -> None:
        message.stop()
        if self.draft is None or self.form.draft is not self.draft:
            return
        family = follow_family(self.draft, self._family)
        if family != self._family:
            self._family = family
            self.form.refresh_fields()
            return
        self.draft_changed()

    # What follows from the draft.

    def draft_changed(self) -> None:
        """Everything anew from the draft."""
        if self.draft is None:
            return
        self.design = design_of(self.draft)
        self.estimate_design()
        found = findings_of(self.draft, self.design)
        self.findings = [*found, *memory_findings(self.reckoned)]
        self.redraw()
        self.refresh_bindings()

    def redraw(self) -> None:
        """Draw what is on screen from the present design."""
        design, symbols, findings = self.design, self.symbols, self.findings
        if not self.is_mounted:
            return
        area, seed = self.area, self.seed
        if design is None:
            for pane in ("attention", "estimates"):
                area.draw(pane, lambda width, height: [])
            for pane in ("drawing", "checks"):
                area.draw(pane, lambda width, height: draw_findings(findings, symbols) if findings else [])
            return
        reckoned = self.reckoned
        area.draw("drawing", lambda width, height: draw_design(design, width, height, symbols))
        area.draw("attention", lambda width, height: draw_attention(design, width, height, symbols, seed))
        by_length = self.by_length
        area.draw(
            "estimates",
            lambda width, height: (
                draw_lengths(reckoned, width, height, symbols)
                if by_length
                else draw_estimates(reckoned, width, symbols)
            ),
        )
        area.draw("checks", lambda width, height: draw_findings(findings, symbols))
        self._show_state()

    def _show_state(self) -> None:
        """At the right end of the strip: what is waited for, else how the draft stands."""
        wrong = sum(finding.level == "wrong" for finding in self.findings)
        changed = len(self.draft.overrides) if self.draft else 0
        parts = [f"{wrong} wrong"] if wrong else []
        parts += [f"{changed} changed"] if changed else []
        parts += [self._start.stem] if self._start else []
        # What is most urgent first, and as much as there is room for.
        words = reveal_control(self.waiting or " · ".join(parts))
        self.strip.note = fit(words, max(0, self.size.width - STRIP), self.symbols)

    def _symbols_changed(self, symbols: str) -> None:
        self.symbols = symbols
        self.form.fields.symbols = symbols
        self.area.opened.draw_with(symbols)
        self.redraw()

    # Panes.

    def watch_pane(self, pane: str) -> None:
        self.area.show_pane(pane)
        # A tree of long names takes the room of the form too, where there is little.
        self.set_class(pane == "checkpoint", "-opened")
        self.strip.active = pane
        self.call_after_refresh(self.redraw)

    def watch_pane_open(self, is_open: bool) -> None:
        self.set_class(is_open, "-pane")

    @on(TabStrip.Picked)
    def _picked(self, message: TabStrip.Picked) -> None:
        message.stop()
        self.action_pane(message.choice)

    def action_pane(self, pane: str) -> None:
        """Show a pane; pressed again, go into it to scroll, and out of it."""
        again = self.pane == pane and (self.pane_open or not self.has_class("-narrow"))
        if again and self.in_pane:
            self.action_back()
        elif again or self.in_pane or pane == "checkpoint" or self.has_class("-narrow"):
            self.enter_pane(pane)
        else:
            self.pane = pane

    def enter_pane(self, pane: str) -> None:
        self.pane, self.pane_open = pane, True
        self.call_after_refresh(self.area.pane(pane).focus)

    def action_back(self) -> None:
        """Out of the question, the pane, the value, the search, the form: one step each."""
        if self.prompt.asked:
            self.prompt.put_away()
            self.focus()
        elif self.asking_inspector:
            self.cancel_inspector()
        elif self.in_pane or self.pane == "checkpoint":
            if self.pane == "checkpoint":
                self.pane = "drawing"
            self.pane_open = False
            self.call_after_refresh(self.focus)
        elif self.has_class("-form") and not self.form.step_back():
            self.set_class(True, "-choosing")
            self.set_class(False, "-form")
            self.chooser.focus()
            self._show_state()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "find" and self.has_class("-form"):
            return False
        if action in ("find", "mend", "new_run", "save", "layout", "device", "order", "pane", "open"):
            return not isinstance(self.app.focused, Input) and self.can(action, parameters)
        return True

    @on(Input.Changed, "#build-prompt")
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        if self.question == "find":
            self.chooser.go_to(message.value)

    @on(Input.Submitted, "#build-prompt")
    def _answered(self, message: Input.Submitted) -> None:
        message.stop()
        self.prompt.put_away()
        self.focus()
        self.take_answer(message.value.strip())
