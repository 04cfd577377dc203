"""The sources: what each holds, of which kind its records are and why, and what is wrong with it."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control, short_bytes
from workbench.tui.widgets.pick_list import PickList
from workbench.tui.widgets.text_lines import Line, TextLines, plain


class SourcesPane(Container):
    """A list of sources, and under it what was found in the one under the cursor."""

    HELP_TITLE = "Sources"
    DEFAULT_CSS = """
    SourcesPane { height: 1fr; }
    SourcesPane PickList { height: auto; max-height: 50%; min-height: 2; border: none; padding: 0 1; }
    SourcesPane PickList { background: $background; }
    SourcesPane TextLines { height: 1fr; padding: 0 1; }
    """
    BINDINGS = bindings(
        Command("sources.remove", "D,delete", "remove", "remove", "Take the source out."),
        Command("sources.kind", "K", "kind", "kind", "Name the kind of its records."),
        Command(
            "sources.columns", "c", "columns", "columns", "Name its columns: text=sentence, or text,label."
        ),
    )

    class Chosen(Message):
        """The cursor is on another source."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    class Asked(Message):
        """Something is to be done to the source under the cursor: remove, kind or columns."""

        def __init__(self, what: str, index: int) -> None:
            super().__init__()
            self.what, self.index = what, index

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.found: list[dict[str, Any]] = []

    def compose(self) -> ComposeResult:
        yield PickList(compact=True)
        yield TextLines()

    @property
    def index(self) -> int:
        """The source under the cursor."""
        return self.query_one(PickList).highlighted or 0

    def say(self, text: str) -> None:
        """A word about what is going on."""
        self.query_one(TextLines).set_lines([plain(text, "dim")])

    def expect(self, sources: list[dict[str, Any]]) -> None:
        """Name the sources before anything is known about them."""
        self._fill([Text(reveal_control(str(source["path"]))) for source in sources])
        self.say("looking at the sources …")

    def take(self, result: dict[str, Any]) -> None:
        """Show what was found."""
        self.found = list(result["sources"])
        self._fill([_title(source) for source in self.found])
        self._show()

    def _fill(self, titles: list[Text]) -> None:
        options = self.query_one(PickList)
        kept = options.highlighted or 0
        options.clear_options()
        options.add_options([Option(title) for title in titles])
        options.highlighted = min(kept, len(titles) - 1) if titles else None

    @on(OptionList.OptionHighlighted)
    def _moved(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        self._show()
        self.post_message(self.Chosen(message.option_index))

    def _show(self) -> None:
        if self.index < len(self.found):
            self.query_one(TextLines).set_lines(source_lines(self.found[self.index]))

    def action_remove(self) -> None:
        self.post_message(self.Asked("remove", self.index))

    def action_kind(self) -> None:
        self.post_message(self.Asked("kind", self.index))

    def action_columns(self) -> None:
        self.post_message(self.Asked("columns", self.index))


def _title(source: dict[str, Any]) -> Text:
    text = Text(reveal_control(str(source["path"])), "bold", no_wrap=True)
    kind = source.get("kind") or "?"
    count = source.get("records")
    some = "" if source.get("complete", True) else "at least "
    words = f"  {kind}" + (f", {some}{count:,} record{'s' * (count != 1)}" if count is not None else "")
    if source.get("side") == "eval":
        words = f"  held out: {words.strip()}"
    if source.get("bytes"):
        words += f", {short_bytes(source['bytes'])}"
    return text.append(reveal_control(words), "not bold")


def source_lines(source: dict[str, Any]) -> list[Line]:
    """A source in words."""
    lines: list[Line] = []
    for problem in source.get("problems", []):
        lines.append(plain(reveal_control(f"! {problem['message']}"), "bad"))
        if problem.get("where"):
            lines.append(plain(reveal_control(f"  where: {problem['where']}")))
        if problem.get("hint"):
            lines.append(plain(reveal_control(f"  try:   {problem['hint']}")))
    if source.get("kind"):
        lines.append((("kind     ", "key"), (str(source["kind"]), "good")))
    if source.get("why"):
        lines.append((("why      ", "key"), (reveal_control(str(source["why"])), "")))
    files = source.get("files") or []
    if files:
        shown = ", ".join(str(file["path"]) for file in files[:4])
        more = f" and {source['num_files'] - 4:,} more" if source["num_files"] > 4 else ""
        lines.append((("files    ", "key"), (reveal_control(shown + more), "")))
    columns = source.get("columns") or []
    if columns:
        lines.append(plain("columns", "title"))
    for column in columns:
        types = ", ".join(column["types"])
        example = reveal_control(str(column.get("example", "")))[:300]
        lines.append(((reveal_control(f"  {column['name']}: {types}  "), "key"), (example, "dim")))
    return lines
