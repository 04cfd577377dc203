"""The last line of the ranking screen: the order as it is typed, and what can be done with it."""

from __future__ import annotations

from rich.text import Text
from textual.widget import Widget

from workbench.tui.rank.ranker import Ranker
from workbench.tui.text import reveal_control
from workbench.tui.widgets.styles import part_style

Parts = tuple[str, str, str]


class OrderLine(Widget):
    """Order, what it is, and what was said last."""

    DEFAULT_CSS = """
    OrderLine { height: 1; background: $surface; color: $foreground; padding: 0 1; }
    OrderLine > .order-line--order { text-style: bold; }
    OrderLine > .order-line--open { color: $text-warning; }
    OrderLine > .order-line--settled { color: $text-success; }
    OrderLine > .order-line--said { color: $text-muted; }
    """
    COMPONENT_CLASSES = {f"order-line--{part}" for part in ("order", "open", "settled", "said")}

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[tuple[str, str]] = []

    def show(self, ranker: Ranker) -> None:
        """Bring it in line with the ranker."""
        self._set(list(_parts(ranker)))

    def say_busy(self, words: str) -> None:
        """Say that a step takes its time."""
        self._set([(words, "open")])

    @property
    def words(self) -> str:
        """What it says."""
        return "   ".join(text for text, _ in self._parts)

    def _set(self, parts: list[tuple[str, str]]) -> None:
        if parts != self._parts:
            self._parts = parts
            self.refresh()

    def render(self) -> Text:
        text = Text(no_wrap=True, end="")
        for number, (words, role) in enumerate(self._parts):
            text.append("   " if number else "")
            text.append(words, part_style(self, f"order-line--{role}", self.rich_style))
        text.truncate(self.size.width, overflow="ellipsis")
        return text


def _parts(ranker: Ranker) -> list[tuple[str, str]]:
    task, draft = ranker.task, ranker.draft
    assert task is not None
    parts: list[tuple[str, str]] = []
    if words := draft.words():
        parts.append((words, "order"))
    decision = task.decision
    if ranker.settled and decision is not None:
        parts.append(("skipped" if decision.kind == "skip" else "decided", "settled"))
        parts.append(("enter goes on" if words else f"1–{draft.count} ranks them", "said"))
    elif draft.complete and words:
        parts.append(("enter commits it", "open"))
    elif not words:
        parts.append((f"1–{draft.count}: the best first", "said"))
    if ranker.flagged:
        parts.append(("flagged", "open"))
    if ranker.said:
        parts.append((reveal_control(ranker.said), "said"))
    return parts
