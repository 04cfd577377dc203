"""The label inspector: a row as the objective sees it, token by token, and what all rows come to."""

from __future__ import annotations

from collections import Counter
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from workbench.tui.commands import Command, bindings
from workbench.tui.data.runs_of import indices_of
from workbench.tui.data.totals import totals_lines
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, TextLines, plain
from workbench.tui.widgets.token_flow import STATES, Cell, TokenFlow

WIDE = 120


class LabelsPane(Container):
    """One row at a time: its tokens in colour, the one under the cursor in words, the totals beside it."""

    HELP_TITLE = "Label inspector"
    DEFAULT_CSS = """
    LabelsPane { height: 1fr; }
    LabelsPane #row-title { height: 1; background: $surface; padding: 0 1; }
    LabelsPane #flow { padding: 0 1; }
    LabelsPane #about-token { height: 5; background: $surface; padding: 0 1; }
    LabelsPane #legend { height: 1; color: $text-muted; padding: 0 1; }
    LabelsPane #totals { width: 44; padding: 0 1; display: none; }
    LabelsPane.-wide #totals { display: block; }
    LabelsPane.-totals #totals { display: block; width: 1fr; }
    LabelsPane.-totals #row { display: none; }
    """
    BINDINGS = bindings(
        Command("labels.next", "right_square_bracket", "row(1)", "next row", "Go to the next row."),
        Command("labels.before", "left_square_bracket", "row(-1)", "row before", "Go to the row before."),
        Command("labels.attends", "a", "attends", "attends", "Show what the token attends to."),
        Command("labels.side", "v", "side", "train/eval", "Change between training and held-out rows."),
        Command("labels.stream", "d", "stream", "decoder", "Change between input and decoder."),
        Command("labels.totals", "x", "totals", "totals", "Change between the row and the totals."),
    )

    number: reactive[int] = reactive(0, init=False)
    side: reactive[str] = reactive("train", init=False)
    stream: reactive[int] = reactive(0, init=False)
    attends: reactive[bool] = reactive(False, init=False)

    class Wanted(Message):
        """Another row is wanted."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.row: dict[str, Any] | None = None
        self.result: dict[str, Any] = {}

    def compose(self) -> ComposeResult:
        yield Static("", id="row-title", markup=False)
        with Horizontal():
            with Container(id="row"):
                yield TokenFlow(id="flow")
                yield Static("", id="legend", markup=False)
                yield TextLines(id="about-token")
            yield TextLines(id="totals")

    @property
    def flow(self) -> TokenFlow:
        return self.query_one(TokenFlow)

    def on_resize(self) -> None:
        self.set_class(self.size.width >= WIDE, "-wide")

    def say(self, text: str) -> None:
        """A word about what is going on, in place of the row's title."""
        self.query_one("#row-title", Static).update(text)

    def take(self, result: dict[str, Any]) -> None:
        """Show the row that was asked for."""
        self.result = result
        rows = result.get("rows") or [None]
        self.row = rows[0]
        self.stream = min(self.stream, max(0, len(self._streams()) - 1))
        self.query_one("#totals", TextLines).set_lines(totals_lines(result))
        self._show_stream()

    def _streams(self) -> list[dict[str, Any]]:
        return list(self.row["streams"]) if self.row else []

    def _show_stream(self) -> None:
        streams = self._streams()
        if not streams:
            self.say("there is no such row")
            self.flow.show([])
            return
        tokens = streams[self.stream]["tokens"]
        self.flow.show(cells_of(tokens))
        assert self.row is not None
        label = f" · label {reveal_control(self.row['label'])}" if self.row.get("label") else ""
        total = self.result.get("rows_per_epoch")
        of = f" of {total:,}" if total else ""
        name = streams[self.stream]["name"]
        which = f" · {name}" if len(streams) > 1 else ""
        notes = "".join(f" · {reveal_control(note)}" for note in self.row.get("notes", []))
        self.say(f"{self.side} row {self.number:,}{of} · {len(tokens)} tokens{which}{label}{notes}")
        counts = Counter(token["state"] for token in tokens)
        legend = [f"{STATES[s][0]}{s}{STATES[s][1]} {counts[s]}" for s in STATES if counts[s]]
        self.query_one("#legend", Static).update("  ".join(legend))
        self._about()

    @on(TokenFlow.Moved)
    def _moved(self) -> None:
        self._about()

    def _about(self) -> None:
        streams = self._streams()
        if not streams or not streams[self.stream]["tokens"]:
            self.query_one("#about-token", TextLines).set_lines([])
            return
        stream, index = streams[self.stream], self.flow.cursor
        seen = indices_of(stream["attends"][index])
        self.flow.light(seen if self.attends else None)
        self.query_one("#about-token", TextLines).set_lines(about(stream, index, seen))

    def action_row(self, by: int) -> None:
        self.number = max(0, self.number + by)

    def action_side(self) -> None:
        self.side = "eval" if self.side == "train" else "train"

    def action_stream(self) -> None:
        self.stream = (self.stream + 1) % max(1, len(self._streams()))

    def action_attends(self) -> None:
        self.attends = not self.attends

    def action_totals(self) -> None:
        self.toggle_class("-totals")

    def watch_number(self) -> None:
        self.post_message(self.Wanted())

    def watch_side(self) -> None:
        self.set_reactive(LabelsPane.number, 0)
        self.post_message(self.Wanted())

    def watch_stream(self) -> None:
        self._show_stream()

    def watch_attends(self) -> None:
        self._about()


def cells_of(tokens: list[dict[str, Any]]) -> list[Cell]:
    """Tokens as they are shown: a hidden one with the truth behind an arrow, a document on a new line."""
    cells, document = [], None
    for token in tokens:
        text = literal(token["text"])
        truth = token.get("original_text")
        if truth is not None and token["state"] in ("masked", "random", "replaced"):
            text = f"{text}→{literal(truth)}"
        begins = document is not None and token["document"] != document
        document = token["document"]
        cells.append(Cell(text, token["state"], begins))
    return cells


def literal(text: str) -> str:
    """The text of a token on one line, never empty; line ends as the sign that most fonts have."""
    return reveal_control(text.replace("\n", "⏎")) or "␀"


def about(stream: dict[str, Any], index: int, seen: list[int]) -> list[Line]:
    """One token in words."""
    token = stream["tokens"][index]
    lines: list[Line] = [
        (
            (f"token {index} ", "key"),
            (f"“{literal(token['text'])}” id {token['id']}  ", "title"),
            (f"{token['state']}: {STATES[token['state']][2]}", ""),
        )
    ]
    if token.get("target") is not None:
        target = f"“{literal(token['target_text'])}” id {token['target']}"
        lines.append((("predicts  ", "key"), (target, "good")))
    if token.get("original") is not None:
        original = f"“{literal(token['original_text'])}” id {token['original']}"
        lines.append((("text says ", "key"), (original, "")))
    place = f"position {token['position']}, document {token['document']}"
    note = f", {reveal_control(token['note'])}" if token.get("note") else ""
    lines.append((("place     ", "key"), (place + note, "")))
    cross = ""
    if stream.get("cross"):
        cross = f"; of the input: {spans(indices_of(stream['cross'][index]))}"
    lines.append(plain(f"sees      {spans(seen)}{cross}"))
    return lines


def spans(indices: list[int]) -> str:
    """Indices as runs: `0–12, 20`."""
    found: list[list[int]] = []
    for index in indices:
        if found and found[-1][1] == index - 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    words = ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in found[:12])
    return f"{len(indices)} tokens: {words}{' …' if len(found) > 12 else ''}" if indices else "nothing"
