"""A tab that is one line: what it is for, and what one can do today from the command line."""

from __future__ import annotations

from textual.widgets import Static


class Hint(Static, can_focus=True):
    """A single sentence, wrapped, in the middle of nothing else."""

    DEFAULT_CSS = """
    Hint { width: 100%; height: 1fr; padding: 1 2; color: $text-muted; }
    """

    SENTENCE = ""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(self.SENTENCE, id=id, markup=False)
