"""The answers to one prompt, beside or beneath each other: which is in focus, how they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Resize
from textual.reactive import reactive

from workbench.store.preferences.contents import Answer
from workbench.store.preferences.ranks import MOST_ANSWERS
from workbench.tui.rank.answer_pane import AnswerPane
from workbench.tui.rank.arranging import grid_for, stacked_heights
from workbench.tui.rank.differences import MISSING, OTHER, differences
from workbench.tui.rank.words import place_words, text_of
from workbench.tui.widgets.text_lines import Span

FRAME = 3
"""Cells of a pane that hold no text: a blank on each side and the scroll bar."""

READ_ON = 60_000
"""Characters up to which scrolling lays out more; what is longer is asked for."""


class Answers(Container):
    """Shows up to nine answers. It never knows which model wrote what."""

    DEFAULT_CSS = """
    Answers { height: 1fr; }
    Answers.-grid { layout: grid; grid-gutter: 0 0; }
    """

    focus_at: reactive[int] = reactive(0, init=False)
    markdown: reactive[bool] = reactive(True, init=False)
    turned: reactive[bool] = reactive(False, init=False)
    together: reactive[bool] = reactive(False, init=False)
    large: reactive[bool] = reactive(False, init=False)
    comparing: reactive[bool] = reactive(False, init=False)

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._panes = [AnswerPane(number + 1) for number in range(MOST_ANSWERS)]
        self._ranks: tuple[int | None, ...] = ()
        self._shape: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield from self._panes

    @property
    def panes(self) -> list[AnswerPane]:
        """Those of the answers there are."""
        return self._panes[: self.count]

    @property
    def columns(self) -> int:
        """How many stand beside each other."""
        return 1 if self.large else grid_for(max(1, self.count), self.size.width, turned=self.turned).columns

    def take(self, answers: Sequence[Answer]) -> None:
        """Show other answers, each from its beginning."""
        self.count = len(answers)
        self._ranks = (None,) * self.count
        for pane, answer in zip(self._panes, answers, strict=False):
            pane.take(text_of(answer.content), cut_off=answer.finish_reason == "length")
        self.set_reactive(Answers.focus_at, 0)
        self.set_reactive(Answers.large, False)
        self.place_all()

    def place(self, ranks: Sequence[int | None], scores: Sequence[float | None]) -> None:
        """Show the place of each, and its score where there is one."""
        self._ranks = tuple(ranks)
        for pane, score in zip(self.panes, scores, strict=True):
            pane.score = score
        self._draw()

    # What follows from the state.

    def on_resize(self, event: Resize) -> None:
        self.place_all()

    def watch_focus_at(self) -> None:
        if self.comparing:
            self._compare()
        self.place_all()

    def watch_markdown(self) -> None:
        self.place_all()

    watch_turned = watch_large = watch_markdown

    def watch_comparing(self) -> None:
        if self.comparing:
            self._compare()
        else:
            for pane in self._panes:
                pane.marked = pane.alike = None
            self.place_all()

    def needed(self, width: int) -> int:
        """The rows in which all would be seen whole, in so many cells."""
        if not self.count or not width:
            return 0
        columns = 1 if self.large else grid_for(self.count, width, turned=self.turned).columns
        needs = self._lay_out(width, columns)
        if self.large:
            return needs[self.focus_at]
        return sum(max(needs[first : first + columns]) for first in range(0, self.count, columns))

    def least(self, width: int) -> int:
        """The rows without which not all could be told apart."""
        if self.large or not self.count:
            return 2
        grid = grid_for(self.count, width, turned=self.turned)
        return self.count + 1 if grid.columns == 1 else 3 * grid.rows

    def _lay_out(self, width: int, columns: int) -> list[int]:
        inner = width // columns - FRAME - (1 if columns > 1 else 0)
        return [1 + pane.lay_out(max(8, inner), self.markdown) for pane in self.panes]

    def place_all(self) -> None:
        """Give every answer its place and its rows."""
        if not self.count or not self.size.width or not self.is_attached:
            return
        columns = self.columns
        grid = columns > 1
        needs = self._lay_out(self.size.width, columns)
        heights = (
            [self.size.height] * self.count
            if grid or self.large
            else stacked_heights(needs, self.size.height, self.focus_at)
        )
        shape = (self.count, columns, self.large and self.focus_at, tuple(heights), self.size)
        if shape != self._shape:
            self._shape = shape
            self._reshape(columns, heights)
        self._draw(heights)
        self.refresh_bindings()

    def _reshape(self, columns: int, heights: Sequence[int]) -> None:
        grid = columns > 1
        self.set_class(grid, "-grid")
        rows = -(-self.count // columns)
        if grid:
            self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        for number, pane in enumerate(self._panes):
            there = number < self.count
            pane.display = there and (not self.large or number == self.focus_at)
            if not pane.display:
                continue
            pane.set_class(grid and number % columns > 0, "-beside")
            # The last of a row that is not full has the rest of it.
            last = grid and number == self.count - 1
            pane.styles.column_span = columns * rows - self.count + 1 if last else 1
            pane.styles.height = "1fr" if grid or self.large else heights[number]

    def _draw(self, heights: Sequence[int] = ()) -> None:
        for number, pane in enumerate(self.panes):
            rank = self._ranks[number]
            tied = rank is not None and self._ranks.count(rank) > 1
            height = heights[number] if heights else pane.styles.height and pane.styles.height.value
            folded = not self.large and self.columns == 1 and height == 1
            pane.draw(place_words(rank, tied), focus=number == self.focus_at, folded=folded)

    # Differences, reckoned in a thread.

    def _compare(self) -> None:
        texts, focus = [pane.text for pane in self.panes], self.focus_at

        def work() -> None:
            bare = [text.strip("\n") for text in texts]
            # The reference too as it came, so that the same words look the same.
            found: list[tuple[list[Span], float | None]] = [
                ([(text, "")], None) if number == focus else differences(text, bare[focus])
                for number, text in enumerate(bare)
            ]
            if self.is_attached:
                self.app.call_from_thread(self._take_differences, texts, focus, found)

        self.run_worker(work, thread=True, group="differences", exclusive=True)

    def _take_differences(
        self,
        texts: list[str],
        focus: int,
        found: list[tuple[list[Span], float | None]],
    ) -> None:
        if not self.comparing or focus != self.focus_at or texts != [pane.text for pane in self.panes]:
            return
        for pane, (marked, alike) in zip(self.panes, found, strict=True):
            pane.marked, pane.alike = marked, alike
        self.place_all()
        for pane in self.panes:
            pane.body.show_first((OTHER, MISSING))

    # What keys ask for.

    def turn(self, by: int) -> None:
        """Put the focus on the next answer."""
        if self.count:
            self.focus_at = (self.focus_at + by) % self.count

    def more(self) -> None:
        """Lay out more of a long answer, and of all that are as long when they scroll together."""
        panes = self.panes if self.together else self.panes[self.focus_at : self.focus_at + 1]
        if any([pane.more() for pane in panes]):
            self.place_all()

    @property
    def has_more(self) -> bool:
        """Whether some of the answer in focus is not laid out."""
        return self.count > 0 and self.panes[self.focus_at].limit < len(self.panes[self.focus_at].text)

    def scroll(self, rows: int | None = None, *, pages: int = 0, to_end: bool | None = None) -> None:
        """Scroll the answer in focus, or all of them, by rows or pages, or to an end."""
        grown = False
        for pane in self.panes if self.together else self.panes[self.focus_at : self.focus_at + 1]:
            body = pane.body
            if to_end is not None:
                place = float(body.max_scroll_y if to_end else 0)
            else:
                place = body.scroll_offset.y + (rows or 0) + pages * max(1, body.size.height - 1)
            # What is read goes on; a text of which nobody sees the end is not laid out to it.
            if place >= body.max_scroll_y - body.size.height and pane.limit < READ_ON:
                grown = pane.more() or grown
            body.scroll_to(y=place, animate=False)
        if grown:
            self.place_all()

    @on(AnswerPane.Clicked)
    def _clicked(self, message: AnswerPane.Clicked) -> None:
        message.stop()
        self.focus_at = message.pane.number - 1
