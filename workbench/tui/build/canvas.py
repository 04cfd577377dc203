"""A small canvas of characters with roles, for drawings made of boxes, arrows and words."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from workbench.tui.widgets.text_lines import Line, Span

BOX = {"round": tuple("╭╮╰╯─│"), "ascii": tuple("++++-|")}
DOWN, RIGHT = {"round": "↓", "ascii": "v"}, {"round": "▶", "ascii": ">"}


SPELLED = {"×": "x", "→": "->", "θ": "theta", "✗": "!", "≈": "~", "–": "-", "·": ".", "…": "~"}


class Canvas:
    """Cells that are written at (x, y); it grows downwards, and what is beyond `width` is left out."""

    def __init__(self, width: int, symbols: str) -> None:
        self.width = max(width, 1)
        self.set = "ascii" if symbols == "ascii" else "round"
        self._rows: list[list[tuple[str, str]]] = []

    @property
    def height(self) -> int:
        """Rows so far."""
        return len(self._rows)

    def put(self, x: int, y: int, text: str, role: str = "") -> None:
        """Write text; characters that are not one cell wide become a question mark."""
        while len(self._rows) <= y:
            self._rows.append([(" ", "")] * self.width)
        for offset, char in enumerate(text):
            if 0 <= x + offset < self.width:
                self._rows[y][x + offset] = (char if cell_len(char) == 1 else "?", role)

    def box(self, x: int, y: int, width: int, height: int, title: str = "", role: str = "line") -> None:
        """A frame with its title in the upper edge."""
        left, right, low_left, low_right, flat, tall = BOX[self.set]
        self.put(x, y, left + flat * (width - 2) + right, role)
        for row in range(y + 1, y + height - 1):
            self.put(x, row, tall, role)
            self.put(x + width - 1, row, tall, role)
        self.put(x, y + height - 1, low_left + flat * (width - 2) + low_right, role)
        if title:
            self.put(x + 2, y, f" {fit(self.words(title), width - 6, self.set)} ", "title")

    def words(self, text: str) -> str:
        """The text in characters of the set."""
        return spell(text) if self.set == "ascii" else text

    def down(self, x: int, y: int, words: str = "") -> None:
        """An arrow of one row that points down, with words beside it."""
        self.put(x, y, DOWN[self.set], "line")
        self.put(x + 2, y, self.words(words), "dim")

    def link(self, x: int, width: int, start: int, end: int) -> None:
        """A line from row `start` on the left to an arrow at row `end` on the right."""
        left, right, low_left, low_right, flat, tall = BOX[self.set]
        middle = x + (width - 1) // 2
        self.put(x, start, flat * width, "arrow")
        self.put(x, end, flat * (width - 1), "arrow")
        self.put(x + width - 1, end, RIGHT[self.set], "arrow")
        if start == end:
            return
        for row in range(min(start, end) + 1, max(start, end)):
            self.put(middle, row, tall, "arrow")
        upward = end < start
        self.put(middle, start, low_right if upward else right, "arrow")
        self.put(middle + 1, start, " " * (width - 1 - (middle - x)), "")
        self.put(x, end, " " * (middle - x), "")
        self.put(middle, end, left if upward else low_left, "arrow")

    def lines(self) -> list[Line]:
        """What was drawn, neighbours of one role together, blanks at the end left out."""
        return [_spans(row) for row in self._rows]


def _spans(row: list[tuple[str, str]]) -> Line:
    spans: list[Span] = []
    end = len(row)
    while end and row[end - 1][0] == " ":
        end -= 1
    for char, role in row[:end]:
        if spans and (spans[-1][1] == role or char == " "):
            spans[-1] = (spans[-1][0] + char, spans[-1][1])
        else:
            spans.append((char, role))
    return tuple(spans)


def fit(text: str, width: int, symbols: str = "braille") -> str:
    """The text in at most `width` cells."""
    if cell_len(text) <= width:
        return text
    mark = "~" if symbols == "ascii" else "…"
    return set_cell_size(text, width - 1) + mark if width > 0 else ""


def spell(text: str) -> str:
    """Signs of ours in ASCII."""
    for sign, plain in SPELLED.items():
        text = text.replace(sign, plain)
    return text
