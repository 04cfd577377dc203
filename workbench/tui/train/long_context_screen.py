"""Evaluations on long text at full size: curves of perplexity by position, and heat maps below them; and what
the model takes by the length of the text, where that was measured.

Read from the disk in a thread, again when something new is there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from workbench.store import context_costs, context_jobs, long_context
from workbench.store.long_context import Result
from workbench.store.runs import Run
from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control
from workbench.tui.train.context_cost_report import cost_lines
from workbench.tui.train.long_context_actions import COMMANDS, QUESTIONS, MeasuringActions, nothing_line
from workbench.tui.train.long_context_report import (
    Column,
    columns_of,
    difference_lines,
    head,
    legend,
    length_lines,
    map_lines,
    position_lines,
)
from workbench.tui.widgets.chart import Chart
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.text_lines import Line, TextLines, plain

if TYPE_CHECKING:
    from workbench.store.context_jobs import Job, What

MARGIN = 4
LOOK_SECONDS = 1.0
FRAME_ROWS = 3
TALL = 40
"""Rows of a screen from which on there is room for maps and tables."""
DAMAGED = "This evaluation cannot be read."


class LongContextScreen(MeasuringActions, ModalScreen[None]):
    """The results of one run, and the newest of another that is pinned; or what the run's model takes."""

    HELP_TITLE = "Long context"
    DEFAULT_CSS = """
    LongContextScreen { background: $background; }
    LongContextScreen #long-title { height: 1; background: $panel; text-style: bold; padding: 0 1; }
    LongContextScreen Chart { height: 45%; min-height: 6; }
    LongContextScreen TextLines { height: 1fr; padding: 0 1; }
    """
    BINDINGS = bindings(
        Command("long.before", "left_square_bracket", "turn(-1)", "before", "The evaluation before."),
        Command("long.next", "right_square_bracket", "turn(1)", "next", "The evaluation after."),
        Command("long.method", "v", "method", "method", "One method alone, the next one, or all of them."),
        Command("long.measure", "m", "measure", "measure", "Keys found, or the probability of their tokens."),
        Command("long.tables", "t", "tables", "tables", "Perplexities as tables, or the heat maps."),
        Command("long.cost", "c", "cost", "cost", "Time and memory by length, or the evaluations."),
        *COMMANDS,
        Command("long.back", "escape,q", "back", "back", "Back to where one was."),
        Command("long.help", "question_mark,f1", "app.help", "help", "Show every key.", footer=False),
    )

    place: reactive[int] = reactive(-1, init=False)
    chosen: reactive[int] = reactive(-1, init=False)
    measure: reactive[str] = reactive("exact", init=False)
    tables: reactive[bool] = reactive(False, init=False)
    shows_cost: reactive[bool] = reactive(False, init=False)

    def __init__(self, run: Run, baseline: Run | None) -> None:
        super().__init__()
        self.run_shown, self.baseline = run, baseline
        self.results: list[Result] = []
        self.other: Result | None = None
        self.cost: dict[str, Any] | None = None
        self._seen: object = None
        self._looking = False

    def compose(self) -> ComposeResult:
        yield Static("", id="long-title", markup=False)
        yield Chart(
            "perplexity by position", x_label="tokens", symbols=getattr(self.app, "symbols", "braille")
        )
        yield TextLines()
        yield Prompt("", id="long-prompt")
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(TextLines).focus()
        self._look()
        self.set_interval(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        # One at a time: what a slow disk gave late would be shown in place of what is newer.
        if not self._looking:
            self._looking = True
            self.run_worker(self._read, thread=True, group="look")

    def _read(self) -> None:
        try:
            if (found := self._new()) is not None and self.is_attached:
                self.app.call_from_thread(self._take, *found)
        finally:
            self._looking = False

    def _new(self) -> tuple[list[Result], Result | None, dict[str, Any] | None, Job | None, str] | None:
        """All there is, where something of it is new."""
        folder = self.run_shown.path
        job = context_jobs.read(folder)
        words = "" if job is None else context_jobs.words(folder, job)
        cost_path = context_costs.path_of("", folder)
        seen = long_context.signature(folder / long_context.FOLDER), context_costs.signature(cost_path)
        if (seen, job, words) == self._seen:
            return None
        self._seen = seen, job, words
        own = long_context.results_in(long_context.run_folder(self.run_shown))
        other = None
        if self.baseline is not None and self.baseline.name != self.run_shown.name:
            found = long_context.results_in(long_context.run_folder(self.baseline))
            other = found[-1] if found else None
        return own, other, context_costs.read(cost_path), job, words

    def _take(
        self,
        own: list[Result],
        other: Result | None,
        cost: dict[str, Any] | None,
        job: Job | None,
        words: str,
    ) -> None:
        is_new = len(own) != len(self.results)
        self.results, self.other, self.cost, self.job, self.job_words = own, other, cost, job, words
        if is_new:
            self.place = len(own) - 1
        self.redraw()

    @property
    def measured(self) -> What:
        return "cost" if self.shows_cost else "eval"

    @property
    def shown(self) -> list[Result]:
        """The baseline's result and the one that is chosen."""
        own = [self.results[self.place]] if 0 <= self.place < len(self.results) else []
        return [*([self.other] if self.other is not None else []), *own]

    @property
    def columns(self) -> list[Column]:
        """Their variants, or the one that is chosen."""
        found = columns_of(self.shown)
        return [found[self.chosen]] if 0 <= self.chosen < len(found) else found

    def on_resize(self) -> None:
        self.redraw()

    def redraw(self) -> None:
        """Title, curves and text."""
        if not self.is_mounted or not self.query(Chart):
            return
        names = ", ".join(result.name for result in self.shown) or f"{self.run_shown.name}: no evaluation"
        more = f"  ({self.place + 1} of {len(self.results)})" if len(self.results) > 1 else ""
        title = f"{self.run_shown.name}: cost" if self.shows_cost else names + more
        title = QUESTIONS[self.measured] if self.prompt.asked else title
        self.query_one("#long-title", Static).update(reveal_control(title))
        self.query_one(Chart).display = not self.shows_cost
        try:
            if self.shows_cost:
                lines = self._cost_lines()
            else:
                self._draw_curves()
                lines = self._lines()
        except (LookupError, TypeError, ValueError, ArithmeticError, OSError):
            lines = [plain(DAMAGED, "bad")]
        self.query_one(TextLines).set_lines([*self.job_lines(), *lines])

    def _draw_curves(self) -> None:
        import numpy as np

        chart = self.query_one(Chart)
        chart.clear()
        for number, column in enumerate(columns_of(self.shown)):
            places = [at for at in column.variant.get("positions") or () if at["nll"] is not None]
            if column.letter not in {shown.letter for shown in self.columns} or not places:
                continue
            x = np.array([(place["start"] + place["end"]) / 2 for place in places])
            y = np.array([math.exp(min(700.0, place["nll"])) for place in places])
            chart.set_series(column.letter, x, y, label=f"{column.letter} {column.title}", color=number)

    def _cost_lines(self) -> list[Line]:
        if self.cost is None:
            return [nothing_line("cost")]
        width, height = max(20, self.size.width - MARGIN), self.size.height - FRAME_ROWS
        return cost_lines(self.cost, width, height, getattr(self.app, "symbols", "braille"))

    def _lines(self) -> list[Line]:
        columns, width = self.columns, max(20, self.size.width - MARGIN)
        if not columns:
            return [nothing_line("eval")]
        lines = [line for result in self.shown for line in head(result)]
        lines += legend(columns, several=len(self.shown) > 1)
        symbols = getattr(self.app, "symbols", "braille")
        maps = [map_lines(columns, self.measure, symbols, width)]
        tables = [
            position_lines(columns, self.shown, width),
            difference_lines(columns),
            length_lines(columns, width),
        ]
        parts = tables if self.tables or not maps[0] else maps
        if self.size.height >= TALL:
            parts = [*tables, *maps] if self.tables else [*maps, *tables]
        for part in parts:
            lines += [plain(""), *part] if part else []
        return lines

    def action_turn(self, by: int) -> None:
        if self.results:
            self.place = (self.place + by) % len(self.results)

    def action_method(self) -> None:
        count = len(columns_of(self.shown))
        self.chosen = -1 if self.chosen + 1 >= count else self.chosen + 1

    def action_measure(self) -> None:
        self.measure = "probability" if self.measure == "exact" else "exact"

    def action_tables(self) -> None:
        self.tables = not self.tables

    @on(Input.Submitted, "#long-prompt")
    def _asked(self, message: Input.Submitted) -> None:
        self.start_measuring(message.value)

    def action_cost(self) -> None:
        self.shows_cost = not self.shows_cost

    def action_back(self) -> None:
        if self.prompt.asked:
            self.put_away_prompt()
        else:
            self.dismiss(None)

    def watch_place(self) -> None:
        self.chosen = -1
        self.redraw()

    def watch_chosen(self) -> None:
        self.redraw()

    watch_measure = watch_tables = watch_shows_cost = watch_chosen
