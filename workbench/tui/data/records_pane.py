"""Records of a source, a page at a time, as they stand in it; and looking for words in them."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, TextLines

PAGE = 20


class RecordsPane(Container):
    """A page of records; brackets turn the pages, the slash looks for words."""

    HELP_TITLE = "Records"
    DEFAULT_CSS = """
    RecordsPane { height: 1fr; }
    RecordsPane #records-title { height: 1; background: $surface; padding: 0 1; }
    RecordsPane TextLines { height: 1fr; padding: 0 1; }
    """
    BINDINGS = bindings(
        Command("records.next", "right_square_bracket", "page(1)", "next page", "Go to the next page."),
        Command("records.before", "left_square_bracket", "page(-1)", "page before", "Go to the page before."),
        Command("records.search", "slash", "search", "search", "Look for words in the records."),
        Command(
            "records.again", "greater_than_sign", "again", "next hit", "Go to the next record with them."
        ),
    )

    start: reactive[int] = reactive(0, init=False)

    class Wanted(Message):
        """Another page is wanted."""

    class Search(Message):
        """Words are to be looked for; `again` for the next record with those of before."""

        def __init__(self, again: bool) -> None:
            super().__init__()
            self.again = again

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.total: int | None = None
        self.more = False
        self.words = ""

    def compose(self) -> ComposeResult:
        yield Static("", id="records-title", markup=False)
        yield TextLines()

    def say(self, text: str) -> None:
        """A word about what is going on, in place of the title."""
        self.query_one("#records-title", Static).update(text)

    def take(self, result: dict[str, Any], path: str) -> None:
        """Show a page."""
        records = result["records"]
        self.more = bool(result["more"])
        of = f" of {self.total:,}" if self.total is not None else ""
        last = self.start + len(records)
        found = f" · looking for “{reveal_control(self.words)}”" if self.words else ""
        self.say(f"{reveal_control(path)} · records {self.start:,}–{max(self.start, last - 1):,}{of}{found}")
        lines: list[Line] = []
        for record in records:
            lines += record_lines(record)
        self.query_one(TextLines).set_lines(lines)
        self.query_one(TextLines).scroll_home(animate=False)

    def watch_start(self) -> None:
        self.post_message(self.Wanted())

    def action_page(self, by: int) -> None:
        if by < 0 or self.more:
            self.start = max(0, self.start + by * PAGE)

    def action_search(self) -> None:
        self.post_message(self.Search(False))

    def action_again(self) -> None:
        self.post_message(self.Search(True))


def record_lines(record: dict[str, Any]) -> list[Line]:
    """A record: where it stands, and each column with its value on one line."""
    lines: list[Line] = [
        ((f"#{record['index']:,}  ", "title"), (reveal_control(str(record["where"])), "dim"))
    ]
    for name, value in record["values"].items():
        text = value if isinstance(value, str) else str(value)
        full = record.get("cut", {}).get(name)
        more = f" … ({full:,} in all)" if full else ""
        lines.append(((f"  {reveal_control(name)}: ", "key"), (reveal_control(text), ""), (more, "dim")))
    lines.append((("", ""),))
    return lines
