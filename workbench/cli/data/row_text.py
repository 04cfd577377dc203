"""A row as lines of a terminal: tokens wrapped like text, under each what it hides, in colours and marks.

What a token is to the objective shows in its colour, and in the marks around it, which need none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from workbench.cli import render

MARKS = {
    "supervised": ("^", "", "green", "predicted as it stands"),
    "context": ("(", ")", "", "read, not predicted"),
    "masked": ("[", "]", "yellow", "hidden, predicted; the truth stands below"),
    "random": ("{", "}", "red", "exchanged for a random token, predicted; the truth stands below"),
    "kept": ("=", "=", "cyan", "left as it is, predicted"),
    "replaced": ("~", "~", "red", "replaced, to be told from the original, which stands below"),
    "sentinel": ("<", ">", "yellow", "stands for a span that was cut out"),
    "special": ("|", "|", "dim", "frame"),
    "padding": ("", "", "dim", "padding"),
}
"""Marks, style and meaning of each state."""

HIDDEN = ("masked", "random", "replaced")
BLANK = "\u00b7"


class Cell(NamedTuple):
    """A token as it is written, its state, and what stands below it."""

    upper: str
    state: str
    lower: str


class Writer:
    """Writes the rows of one answer, all with the same marks."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.result = result
        states = result["states"]
        self.states = [state for state in MARKS if states.get(state)]
        # The commoner of the two states that most tokens are in goes without marks.
        self.plain = max(("context", "supervised"), key=lambda state: states.get(state, 0))
        self.blank = BLANK if render.has_unicode() else "_"
        self.width = render.columns()

    def marks(self, state: str) -> tuple[str, str]:
        """What stands before and behind a token in a state."""
        return ("", "") if state == self.plain else MARKS[state][:2]

    def legend(self) -> str:
        """The states of these rows, each written as it is above."""
        items = []
        for state in self.states:
            left, right = self.marks(state)
            _, _, style, meaning = MARKS[state]
            sample = "…" if state == "padding" else f"{left}token{right}"
            items.append((f"{sample}", render.style(f"{state}: {meaning}", style)))
        items.append(
            (f"{self.blank}token", "a blank before it; a number is the place of the token behind it")
        )
        return f"{render.style('legend', 'bold')}\n{render.pairs(items, '  ')}"

    def row(self, row: dict[str, Any], attends: int | None) -> str:
        """A row with all its streams, and what the token at `attends` of the first sees."""
        total = self.result["rows_per_epoch"]
        head = f"row {row['index']:,} of {total:,} · {self.result['objective']} · {self.result['side']}"
        lines = [render.style(head, "bold")]
        if row["label"]:
            lines.append(f"label: {render.style(render.literal(row['label']), 'green')}")
        lines += [f"note: {render.literal(note)}" for note in row["notes"]]
        for stream in row["streams"]:
            if len(row["streams"]) > 1:
                lines.append(render.style(f"{render.literal(stream['name'])}:", "bold"))
            lines += self._stream(stream)
        if attends is not None:
            for stream in row["streams"]:
                lines += self._attends(stream, row["streams"][0], attends)
        return "\n".join(lines)

    def _stream(self, stream: dict[str, Any]) -> list[str]:
        tokens, lines, begin = stream["tokens"], list[str](), 0
        several = len({token["document"] for token in tokens} - {-1}) > 1
        while begin < len(tokens):
            document, end = tokens[begin]["document"], begin
            while end < len(tokens) and tokens[end]["document"] == document:
                end += 1
            if document < 0:
                lines.append(render.style(f"{begin:>6}  … {end - begin:,} of padding", "dim"))
            else:
                if several:
                    lines.append(render.style(f"     -- document {document} --", "dim"))
                lines += self._wrapped([self._cell(token) for token in tokens[begin:end]], begin)
            begin = end
        return lines

    def _cell(self, token: dict[str, Any]) -> Cell:
        left, right = self.marks(token["state"])
        upper = f"{left}{self.shown(token['text'])}{right}"
        lower = ""
        if token["state"] in HIDDEN:
            truth = token["original_text"] if token["original"] is not None else token["target_text"]
            lower = " " * len(left) + self.shown(truth or "")
        elif token["note"]:
            lower = render.literal(token["note"])
        return Cell(upper, token["state"], lower)

    def shown(self, text: str) -> str:
        """A token's text, literal, its blanks at both ends to be seen."""
        text = render.literal(text)
        inner = text.strip(" ")
        if not inner:
            return self.blank * len(text) or "''"
        before = len(text) - len(text.lstrip(" "))
        behind = len(text) - len(text.rstrip(" "))
        return self.blank * before + inner + self.blank * behind

    def _wrapped(self, cells: list[Cell], place: int) -> list[str]:
        lines: list[str] = []
        room = max(16, self.width - 8)
        line: list[Cell] = []
        used, first = 0, place
        for number, cell in enumerate(cells, place):
            size = max(render.cells(cell.upper), render.cells(cell.lower)) + 1
            if line and used + size > room:
                lines += self._line(line, first)
                line, used, first = [], 0, number
            line.append(cell)
            used += size
        return lines + self._line(line, first)

    def _line(self, cells: list[Cell], place: int) -> list[str]:
        upper, lower = f"{place:>6}  ", " " * 8
        for cell in cells:
            width = max(render.cells(cell.upper), render.cells(cell.lower)) + 1
            style = MARKS[cell.state][2]
            upper += render.style(cell.upper, style) + " " * (width - render.cells(cell.upper))
            below = render.style(cell.lower, "dim") if cell.lower.strip() else cell.lower
            lower += below + " " * (width - render.cells(cell.lower))
        return [upper.rstrip(), lower.rstrip()] if lower.strip() else [upper.rstrip()]

    def _attends(self, stream: dict[str, Any], source: dict[str, Any], place: int) -> list[str]:
        if place >= len(stream["tokens"]):
            return []
        token = stream["tokens"][place]
        name = render.literal(stream["name"])
        head = f"token {place} of {name}, “{render.literal(token['text'])}” ({token['state']}), sees"
        lines = ["", render.style(head, "bold"), *self._seen(stream["attends"][place], stream)]
        if stream["cross"] is not None:
            lines += [f"  and of {render.literal(source['name'])}"]
            lines += self._seen(stream["cross"][place], source)
        return lines

    def _seen(self, runs: list[list[int]], stream: dict[str, Any]) -> list[str]:
        lines = []
        for first, last in runs:
            text = " ".join(self.shown(token["text"]) for token in stream["tokens"][first : last + 1])
            span = str(first) if first == last else f"{first}-{last}"
            lines.append(render.clip(f"  {span:>9}  {text}", self.width))
        return lines or ["    nothing"]
