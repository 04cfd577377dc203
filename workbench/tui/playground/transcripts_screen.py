"""An evaluation item by item: which were right, and everything that was sent and came back for each."""

from __future__ import annotations

import threading
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from workbench.errors import WorkbenchError
from workbench.store.evaluations import Evaluation, find_evaluation
from workbench.store.transcripts import Transcripts
from workbench.tui.commands import Command, bindings
from workbench.tui.notices import notify_error
from workbench.tui.playground.column_pane import ColumnPane
from workbench.tui.playground.commands import VIEWS
from workbench.tui.playground.transcript import about_line, column_from
from workbench.tui.playground.transcript_list import TranscriptList
from workbench.tui.text import reveal_control
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.tab_strip import TabStrip
from workbench.tui.widgets.text_lines import TextLines

WIDE = 140
SHOWN = tuple(view for view in VIEWS if view.id not in ("tokens", "preview"))


class TranscriptsScreen(ModalScreen[None]):
    """The items at the left or above, the one under the cursor beside."""

    HELP_TITLE = "Evaluation"
    DEFAULT_CSS = """
    TranscriptsScreen { background: $background; }
    TranscriptsScreen #transcripts-title { height: 1; background: $panel; text-style: bold; padding: 0 1; }
    TranscriptsScreen #transcripts-body { layout: vertical; height: 1fr; }
    TranscriptsScreen TranscriptList { height: 1fr; }
    TranscriptsScreen #transcript { height: 2fr; }
    TranscriptsScreen #transcript-about { height: auto; max-height: 3; background: $surface; }
    TranscriptsScreen.-wide #transcripts-body { layout: horizontal; }
    TranscriptsScreen.-wide TranscriptList { width: 2fr; height: 1fr; }
    TranscriptsScreen.-wide #transcript { width: 3fr; height: 1fr; border-left: solid $panel; }
    """
    BINDINGS = bindings(
        Command("evaluation.wrong", "f", "wrong", "wrong only", "Show only what was not right, or all."),
        Command("evaluation.search", "slash", "search", "search", "Show the items that hold a text."),
        Command(
            "evaluation.into", "enter,tab", "into", "read", "Go into the answer to scroll, and out of it."
        ),
        Command("evaluation.next_chain", "right_square_bracket", "chain(1)", "chain", "Show the next chain."),
        Command(
            "evaluation.chain", "left_square_bracket", "chain(-1)", "chain", "Show the chain before.", False
        ),
        *(
            Command(f"evaluation.{view.id}", view.key, f"view('{view.id}')", view.label, view.help, False)
            for view in SHOWN
        ),
        Command(
            "evaluation.back", "escape", "back", "back", "Out of the answer, the search, the evaluation."
        ),
        Command("evaluation.help", "question_mark,f1", "app.help", "help", "Show every key.", footer=False),
    )

    view: reactive[str] = reactive("answer", init=False)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name_of_evaluation = name
        self.only_wrong = False
        self.text = ""
        self._asked: tuple[str, str] = ("", "")
        self._superseded = threading.Event()

    def compose(self) -> ComposeResult:
        yield Static(reveal_control(self.name_of_evaluation), id="transcripts-title", markup=False)
        yield TabStrip([(view.id, view.key, view.label) for view in SHOWN], active=self.view)
        yield Prompt("a text that stands in the question, an answer or a step", id="transcripts-text")
        with Container(id="transcripts-body"):
            yield TranscriptList()
            with Container(id="transcript"):
                yield TextLines(id="transcript-about")
                yield ColumnPane(column_from({}))
        yield KeyBar()

    def on_mount(self) -> None:
        self.set_class(self.app.size.width >= WIDE, "-wide")
        self.pane.set_view(self.view)
        self.items.focus()
        self.read()

    def on_unmount(self) -> None:
        self._superseded.set()

    @property
    def items(self) -> TranscriptList:
        """The items."""
        return self.query_one(TranscriptList)

    @property
    def pane(self) -> ColumnPane:
        """The one under the cursor."""
        return self.query_one(ColumnPane)

    @property
    def prompt(self) -> Prompt:
        """Where a text is typed."""
        return self.query_one("#transcripts-text", Prompt)

    def read(self) -> None:
        """Read which items there are and match, in a thread; a later look ends an earlier one."""
        self._superseded.set()
        superseded = self._superseded = threading.Event()
        text, only_wrong = self.text, self.only_wrong

        def work() -> None:
            try:
                evaluation = find_evaluation(self.name_of_evaluation)
                transcripts = evaluation.transcripts()
                numbers = _matching(transcripts, text, only_wrong, superseded)
                title, asked = f"{evaluation_words(evaluation)} · {evaluation.name}", asked_of(evaluation)
            except WorkbenchError as error:
                notify_error(self.app, error)
                return
            if not superseded.is_set():
                self._asked = asked
                self.call_later(self._take, transcripts, numbers, title)

        self.run_worker(work, thread=True, group="transcripts")

    def _take(self, transcripts: Transcripts, numbers: list[int], title: str) -> None:
        parts = (
            [title, f"{len(numbers):,} of {len(transcripts):,} shown"]
            if len(numbers) < len(transcripts)
            else [title]
        )
        self.query_one("#transcripts-title", Static).update(reveal_control(" · ".join(parts)))
        self.items.show(transcripts, numbers)

    @on(TranscriptList.Moved)
    def _moved(self, message: TranscriptList.Moved) -> None:
        message.stop()
        transcript = self.items.transcript
        about = self.query_one("#transcript-about", TextLines)
        about.set_lines([about_line(transcript)] if transcript else [])
        self.pane.set_column(column_from(transcript, *self._asked))
        self._draw()

    def _draw(self) -> None:
        self.pane.symbols = getattr(self.app, "symbols", "braille")
        self.pane.refresh_column(1, active=False, several=False)

    def watch_view(self, view: str) -> None:
        self.query_one(TabStrip).active = view
        inside = self.app.focused is not self.items
        self.pane.set_view(view)
        self._draw()
        if inside:
            self.pane.place.focus()

    @on(TabStrip.Picked)
    def _picked(self, message: TabStrip.Picked) -> None:
        message.stop()
        self.view = message.choice

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not isinstance(self.app.focused, Input) or action == "back"

    def action_view(self, view: str) -> None:
        self.view = view

    def action_chain(self, by: int) -> None:
        self.pane.column.turn_chain(by)
        self._draw()

    def action_wrong(self) -> None:
        self.only_wrong = not self.only_wrong
        self.read()

    def action_search(self) -> None:
        self.prompt.ask(self.text)

    @on(Input.Submitted, "#transcripts-text")
    def _searched(self, message: Input.Submitted) -> None:
        message.stop()
        self.text = message.value.strip()
        self.prompt.put_away()
        self.items.focus()
        self.read()

    def action_into(self) -> None:
        if self.app.focused is self.items:
            self.pane.place.focus()
        else:
            self.items.focus()

    def action_back(self) -> None:
        if self.prompt.asked:
            self.prompt.put_away()
            self.items.focus()
        elif self.app.focused is not self.items:
            self.items.focus()
        elif self.text:
            self.text = ""
            self.read()
        else:
            self.dismiss(None)


def _matching(
    transcripts: Transcripts, text: str, only_wrong: bool, superseded: threading.Event
) -> list[int]:
    numbers: list[int] = []
    found = transcripts.search(text) if text else range(len(transcripts))
    for number in found:
        if superseded.is_set():
            break
        if not only_wrong or (transcripts.read(number).get("score") or 0) < 1:
            numbers.append(number)
    return numbers


def evaluation_words(evaluation: Evaluation) -> str:
    """What came of an evaluation, in a line."""
    try:
        settings = evaluation.settings()
    except WorkbenchError as error:
        return error.message
    summary = evaluation.summary()
    parts = []
    if isinstance(summary.get("accuracy"), (int, float)):
        interval = summary.get("interval") or {}
        ends = [interval.get("low"), interval.get("high")]
        known = all(isinstance(end, (int, float)) for end in ends)
        span = f" ({ends[0]:.0%}–{ends[1]:.0%})" if known else ""
        parts.append(f"accuracy {summary['accuracy']:.1%}{span}")
    if summary.get("items") is not None:
        parts.append(f"{summary.get('done', 0):,} of {summary['items']:,}")
    parts.append(str(summary.get("state", "not run")))
    parts += [_inside(settings, "prompt"), _inside(settings, "technique")]
    parts.append(_inside(settings, "model").rstrip("/").rpartition("/")[2])
    return " · ".join(part for part in parts if part)


def asked_of(evaluation: Evaluation) -> tuple[str, str]:
    """The technique of an evaluation, and the model it asked."""
    try:
        settings = evaluation.settings()
    except WorkbenchError:
        return "", ""
    return _inside(settings, "technique"), _inside(settings, "model")


def _inside(settings: dict[str, Any], section: str) -> str:
    inner = settings.get(section)
    return str(inner.get("name", "")) if isinstance(inner, dict) else ""
