"""The Playground tab: prompts put to models by techniques, in one to four columns, token by token.

What is on screen follows from the columns, which take what their jobs tell. Everything that talks to a
model runs on the thread of the backstage; while something goes on, the tab looks ten times a second at what
has come.
"""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Paste, Resize
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input

from workbench.tui.commands import bindings
from workbench.tui.playground.column_pane import ColumnPane
from workbench.tui.playground.commands import COMMANDS, VIEWS
from workbench.tui.playground.editor import Area, PromptEditor
from workbench.tui.playground.preview import PreviewPane
from workbench.tui.playground.remembering import Remembering
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.tab_strip import TabStrip

LOOK_SECONDS = 0.1
SETTLE_SECONDS = 0.5
NARROWEST = 45
"""Columns of the terminal below which the columns stand one above the other."""


class PlaygroundTab(Remembering):
    """Talking to models."""

    HELP_TITLE = "Playground"
    DEFAULT_CSS = """
    PlaygroundTab { height: 1fr; }
    PlaygroundTab #columns { layout: horizontal; height: 1fr; }
    PlaygroundTab.-stacked #columns { layout: vertical; }
    PlaygroundTab.-preview #columns { display: none; }
    PlaygroundTab.-large ColumnPane { display: none; }
    PlaygroundTab.-large ColumnPane.-active { display: block; }
    PlaygroundTab ColumnPane.-beside { border-left: solid $panel; }
    PlaygroundTab.-stacked ColumnPane.-beside, PlaygroundTab.-large ColumnPane.-beside { border-left: none; }
    """
    BINDINGS = bindings(*COMMANDS)

    view: reactive[str] = reactive("answer", init=False)
    large: reactive[bool] = reactive(False, init=False)
    markdown: reactive[bool] = reactive(False, init=False)

    def compose(self) -> ComposeResult:
        yield TabStrip([(view.id, view.key, view.label) for view in VIEWS], active=self.view, id="play-strip")
        yield Container(*(ColumnPane(column) for column in self.columns), id="columns")
        yield PreviewPane()
        yield Prompt("", id="play-question")
        yield PromptEditor(self.writing, self.act)

    def on_mount(self) -> None:
        if not self.children:  # the app is being closed, and nothing was composed
            return
        self._looking = self.set_interval(LOOK_SECONDS, self.look, pause=True)
        self._settling = self.set_interval(SETTLE_SECONDS, self._settled, pause=True)
        self.watch(self.app, "symbols", self._symbols_changed)
        self.watch_view(self.view)
        self.begin()

    def on_unmount(self) -> None:
        self.end()

    def on_show(self) -> None:
        self.call_after_refresh(self.redraw)

    def focus(self, scroll_visible: bool = True) -> PlaygroundTab:
        """What is shown has the keys, the tab itself has none."""
        self.take_keys()
        return self

    def take_keys(self) -> None:
        # Not `focus()`, which waits for the next turn of the event loop, when somebody else may have them.
        self.screen.set_focus(self.place)

    @property
    def panes(self) -> list[ColumnPane]:
        # There are none yet while the tab is made, and none any more while it goes.
        body = self.query("#columns")
        return list(body.first().query_children(ColumnPane)) if body else []

    @property
    def editor(self) -> PromptEditor:
        return self.query_one(PromptEditor)

    @property
    def preview(self) -> PreviewPane:
        return self.query_one(PreviewPane)

    @property
    def question(self) -> Prompt:
        return self.query_one("#play-question", Prompt)

    @property
    def strip(self) -> TabStrip:
        return self.query_one("#play-strip", TabStrip)

    @property
    def place(self) -> Widget:
        """What has the keys when nothing is typed."""
        if self.view == "preview":
            return self.preview.place
        return next((pane.place for pane in self.panes if pane.column is self.column), self)

    # What is on screen.

    def on_resize(self, event: Resize) -> None:
        self.set_class(event.size.width < NARROWEST * len(self.columns), "-stacked")
        self.editor.most = max(3, event.size.height // 4)
        self.call_after_refresh(self.redraw)

    def redraw(self) -> None:
        """Bring everything in line with the columns."""
        if not self.is_attached or not self.query("#columns"):
            return
        symbols = getattr(self.app, "symbols", "braille")
        several = len(self.columns) > 1
        for pane in self.panes:
            if pane.column not in self.columns or not pane.children:
                continue
            number = self.columns.index(pane.column)
            active = pane.column is self.column
            pane.set_class(active, "-active")
            pane.set_class(number > 0, "-beside")
            pane.symbols, pane.markdown = symbols, self.markdown
            if pane.display:
                pane.refresh_column(number + 1, active=active, several=several)
        self.strip.note = " · ".join(filter(None, (self.note(), "Markdown" if self.markdown else "")))
        # What had the keys may have gone out of sight: a question that was answered, tokens of before.
        if self.screen.focused is None and self.display:
            self.take_keys()
        self.refresh_bindings()

    def look(self) -> None:
        """Take what has come, and go on looking as long as more may come."""
        if not self.take_events():
            self._looking.pause()
        self.redraw()

    def look_on(self) -> None:
        self._looking.resume()
        self.redraw()

    async def fit_panes(self) -> None:
        """One pane a column, in their order."""
        body = self.query_one("#columns")
        for pane in self.panes:
            if pane.column not in self.columns:
                await pane.remove()
        shown = [pane.column for pane in self.panes]
        for column in self.columns:
            if column not in shown:
                pane = ColumnPane(column)
                await body.mount(pane)
                pane.set_view("answer" if self.view == "preview" else self.view)
        self.set_class(self.size.width < NARROWEST * len(self.columns), "-stacked")
        self.large = self.large and len(self.columns) > 1
        if not self.editor.active:
            self.take_keys()
        self.call_after_refresh(self.redraw)

    def _symbols_changed(self, symbols: str) -> None:
        self.call_after_refresh(self.redraw)

    def watch_view(self, view: str) -> None:
        self.strip.active = view
        self.set_class(view == "preview", "-preview")
        self.preview.set_class(view == "preview", "-shown")
        if view != "preview":
            for pane in self.panes:
                pane.set_view(view)
        self.call_after_refresh(self._shown)

    def watch_large(self, large: bool) -> None:
        self.set_class(large, "-large")
        self.call_after_refresh(self._shown)

    def _shown(self) -> None:
        """Another part is in sight: it is drawn, and has the keys unless something is typed."""
        self.redraw()
        if not isinstance(self.app.focused, Input | Area) and self.display:
            self.take_keys()

    # What the parts say.

    @on(TabStrip.Picked)
    def _picked(self, message: TabStrip.Picked) -> None:
        message.stop()
        self.action_view(message.choice)

    @on(ColumnPane.Picked)
    def _column_picked(self, message: ColumnPane.Picked) -> None:
        message.stop()
        self.activate(message.column)

    def act(self, what: str, by: int) -> None:
        """Do what a key means that was pressed while writing."""
        match what:
            case "send":
                self.action_send()
            case "turn":
                self.turn_slot(by)
            case "leave":
                self.action_back()
            case "answer":
                self.take_keys()
            case "recall":
                self.recall()
            case "page":
                place = self.place
                place.scroll_relative(y=by * max(1, place.size.height - 1), animate=False)

    @on(Input.Submitted, "#play-question")
    def _answered(self, message: Input.Submitted) -> None:
        message.stop()
        self.question.put_away()
        self.take_keys()
        self.take_answer(message.value.strip())

    @on(PromptEditor.Changed)
    def _written(self, message: PromptEditor.Changed) -> None:
        message.stop()
        if self.view == "preview":
            self._settling.reset()
            self._settling.resume()

    def _settled(self) -> None:
        self._settling.pause()
        if self.view == "preview":
            self.look_ahead()

    def on_paste(self, event: Paste) -> None:
        if not isinstance(self.app.focused, Input | Area):
            event.stop()
            self.editor.paste(event)

    # What the keys do.

    def action_view(self, view: str) -> None:
        if view == "preview":
            self.look_ahead()
        self.view = view

    def action_large(self) -> None:
        self.large = not self.large

    def action_markdown(self) -> None:
        """Lay answers out as Markdown, or show them as they came again."""
        self.markdown = not self.markdown
        self.redraw()

    def action_back(self) -> None:
        """Out of the question, the answer that is on its way, the text, the view: one step each."""
        if self.question.asked:
            self.question.put_away()
            self.take_keys()
        elif self.editor.active and (not self.busy or self.column.pending is not None):
            self.take_keys()
        elif self.busy:
            self.cancel()
            # Who has written nothing wants to look at what came, not to type the next key.
            if self.editor.active and not self.writing.slot.text:
                self.take_keys()
        elif self.column.warming is not None:
            self.column.warming.cancel()
        elif self.working:
            self.stop_ingesting()
        elif self.large:
            self.large = False
        else:
            self.view = "answer"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if isinstance(self.app.focused, Input | Area):
            # What is typed is text; only what no text has is a command.
            return action == "back" or (action == "send" and isinstance(self.app.focused, Area))
        if action == "markdown":
            return self.view == "answer" and self.can(action)
        return self.can(action)
