"""Tokens by their probability: in colour, with the rivals of the one under the cursor."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.widget import Widget

from workbench.tui.playground.column import Column
from workbench.tui.text import meter, reveal_control
from workbench.tui.widgets.text_lines import Line, TextLines, plain
from workbench.tui.widgets.token_flow import Cell, TokenFlow

if TYPE_CHECKING:
    from workbench.inference.generation import PromptToken, TokenLogprob

BANDS = ((0.9, "sure"), (0.5, "likely"), (0.2, "open"), (0.05, "unlikely"), (0.0, "rare"))
"""Least probability of each colour."""
LEGEND: Line = (
    ("≥ 90 %", ""),
    (" ≥ 50 %", "good"),
    (" ≥ 20 %", "key"),
    (" ≥ 5 %", "warn"),
    (" less", "bad"),
)
SPECIAL = re.compile(r"<[|/]?[^<>\s]{1,40}[|]?>|\[/?[A-Z_]{2,20}\]|<0x[0-9A-F]{2}>")


class OddsFlow(TokenFlow, inherit_bindings=False):
    """A row of tokens, each in the colour of its probability, or of its part in the prompt."""

    DEFAULT_CSS = """
    OddsFlow > .token--sure { color: $foreground; }
    OddsFlow > .token--likely { color: $text-success; }
    OddsFlow > .token--open { color: $accent; }
    OddsFlow > .token--unlikely { color: $text-warning; text-style: underline; }
    OddsFlow > .token--rare { color: $text-error; text-style: bold underline; }
    OddsFlow > .token--even { color: $foreground; }
    OddsFlow > .token--odd { color: $text-success; }
    OddsFlow > .token--mark { color: $text-warning; text-style: bold; }
    OddsFlow:nocolor > .token--sure { text-style: none; }
    OddsFlow:nocolor > .token--open { text-style: italic; }
    OddsFlow:nocolor > .token--odd { text-style: underline; }
    """
    COMPONENT_CLASSES = {
        "token--sure",
        "token--likely",
        "token--open",
        "token--unlikely",
        "token--rare",
        "token--even",
        "token--odd",
        "token--mark",
    }
    # As everywhere in the Playground h is the history; the arrows move.
    BINDINGS = [
        replace(binding, key=",".join(key for key in binding.key.split(",") if key not in ("h", "l")))
        for binding in TokenFlow.BINDINGS
        if isinstance(binding, Binding)
    ]


def band(probability: float) -> str:
    """The colour of a probability."""
    return next(name for least, name in BANDS if probability >= least)


def odds_cells(tokens: Sequence[TokenLogprob]) -> list[Cell]:
    """An answer's tokens."""
    cells, begins = [], False
    for token in tokens:
        cells.append(Cell(shown_token(token.token), band(math.exp(min(0.0, token.logprob))), begins))
        begins = token.token.endswith("\n")
    return cells


def prompt_cells(tokens: Sequence[PromptToken]) -> list[Cell]:
    """A prompt's tokens, neighbours in two colours so that one sees where each ends."""
    cells, begins = [], False
    for number, token in enumerate(tokens):
        looks_special = SPECIAL.fullmatch(token.text.strip()) is not None
        is_special = looks_special if token.special is None else token.special
        state = "mark" if is_special else ("even", "odd")[number % 2]
        cells.append(Cell(shown_token(token.text), state, begins))
        begins = token.text.endswith("\n")
    return cells


def shown_token(text: str) -> str:
    """A token as it can be shown: what would be invisible has a sign."""
    return reveal_control(text) or "∅"


class OddsPane(Container):
    """The tokens of the chain in sight, and below them the one under the cursor with its rivals."""

    DEFAULT_CSS = """
    OddsPane { height: 1fr; }
    OddsPane OddsFlow { padding: 0 1; }
    OddsPane .odds-about { height: auto; max-height: 8; background: $surface; padding: 0 1; }
    OddsPane .odds-empty { padding: 0 1; height: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tokens: Sequence[TokenLogprob] = ()
        self._drawn: tuple[object, ...] = ()
        self.symbols = "braille"

    def compose(self) -> ComposeResult:
        yield TextLines().add_class("odds-empty")
        yield OddsFlow()
        yield TextLines().add_class("odds-about")

    @property
    def flow(self) -> OddsFlow:
        """The tokens."""
        return self.query_one(OddsFlow)

    @property
    def place(self) -> Widget:
        """What has the keys."""
        return self.flow if self._tokens else self.query_one(".odds-empty", TextLines)

    def show(self, column: Column) -> None:
        """Bring it in line with the column; while an answer grows only the first look counts, for drawing
        all tokens anew takes longer the more there are."""
        chain = column.shown
        tokens = chain.tokens if chain is not None else []
        drawn = (column, column.question, column.job, column.chain, column.state, bool(tokens))
        if drawn == self._drawn:
            return
        self._drawn, self._tokens = drawn, list(tokens)
        empty = self.query_one(".odds-empty", TextLines)
        empty.display = not tokens
        empty.set_lines([] if tokens else [plain(_why_empty(column), "dim")])
        self.flow.display = bool(tokens)
        self.flow.show(odds_cells(tokens))
        self._about()

    @on(TokenFlow.Moved)
    def _moved(self, message: TokenFlow.Moved) -> None:
        message.stop()
        self._about()

    def _about(self) -> None:
        index = self.flow.cursor
        width = self.size.width - 3
        known = index < len(self._tokens)
        lines = about_token(self._tokens, index, self.symbols, width) if known else []
        about = self.query_one(".odds-about", TextLines)
        about.display = bool(lines)
        about.set_lines(lines)


def _why_empty(column: Column) -> str:
    if column.busy:
        return "Probabilities come with the tokens; look again in a moment (i)."
    if column.setup.alternatives is None:
        return "It was sent without probabilities. r switches them on (alternatives)."
    if column.state == "empty":
        return "Nothing was sent yet."
    return "The server told no probabilities, or the answer is from the history, which keeps none."


def about_token(tokens: Sequence[TokenLogprob], index: int, symbols: str, width: int = 0) -> list[Line]:
    """A token in words, and what else could have stood in its place; the legend where there is room."""
    token = tokens[index]
    head: Line = (
        (f"token {index + 1} of {len(tokens)}  ", "key"),
        (f"“{shown_token(token.token)}”", "title"),
        (f"  {_percent(token.logprob)}  log {token.logprob:.3f}   ", ""),
    )
    used = sum(cell_len(text) for text, _ in head)
    room = width - used - sum(cell_len(text) for text, _ in LEGEND)
    lines: list[Line] = [(*head, (" " * room, ""), *LEGEND) if room > 0 else head]
    rivals = list(token.top) or [(token.token, token.logprob)]
    if all(text != token.token for text, _ in rivals):
        rivals.append((token.token, token.logprob))
    for text, logprob in rivals[:7]:
        chosen = text == token.token
        filled = meter(math.exp(min(0.0, logprob)), 20, symbols)
        role = "good" if chosen else ""
        sign = ("▸" if symbols != "ascii" else ">") if chosen else " "
        lines.append(
            ((f"{sign} {_percent(logprob)} ", role), (filled, "key"), (f"  “{shown_token(text)}”", role))
        )
    return lines


def _percent(logprob: float) -> str:
    return f"{math.exp(min(0.0, logprob)):>6.1%}"
