"""The attention of a design as pictures: half-blocks, which are square in most fonts, or ASCII."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.tui.build.attention import Matrix, Pattern, extents, patterns_of
from workbench.tui.build.canvas import Canvas, fit
from workbench.tui.build.design import Design
from workbench.tui.widgets.text_lines import Line, plain

LARGEST, SMALLEST = 48, 14
FRAME, GAP, NOTE = 2, 2, 2
HALVES = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}


def draw_attention(design: Design, width: int, height: int, symbols: str, seed: int) -> list[Line]:
    """The matrices of a design, as large as there is room for all, each row of them as full as it gets."""
    notes = len(extents(design, SMALLEST)) + NOTE
    size = next(
        (
            size
            for size in range(LARGEST, SMALLEST, -2)
            if _fits(_places(extents(design, size), width), extents(design, size), width, height - notes)
        ),
        SMALLEST,
    )
    patterns = patterns_of(design, size, seed)
    canvas = Canvas(width, symbols)
    for (x, y), pattern in zip(_places(extents(design, size), width), patterns, strict=True):
        _draw(canvas, x, y, pattern)
    scale = design.length / size
    place = f"{scale:,.0f} of {design.length:,} tokens" if scale >= 1.5 else "a token"
    lines = [plain(canvas.words(f"row: who looks, column: at whom; a place is {place}"), "dim")]
    for pattern in patterns:
        name = f"{pattern.title}: " if len(patterns) > 1 else ""
        lines.append(((name, "key"), (canvas.words(pattern.words), "dim")))
    return [*canvas.lines(), *lines]


def _places(sizes: Sequence[tuple[int, int]], width: int) -> list[tuple[int, int]]:
    """Where each picture begins: left to right, in a new row where there is no room."""
    places = []
    x = y = tallest = 0
    for rows, columns in sizes:
        if x and x + columns + FRAME > width:
            x, y, tallest = 0, y + tallest, 0
        places.append((x, y))
        x += columns + FRAME + GAP
        tallest = max(tallest, rows // 2 + FRAME + 1)
    return places


def _fits(
    places: Sequence[tuple[int, int]], sizes: Sequence[tuple[int, int]], width: int, height: int
) -> bool:
    return all(
        x + columns + FRAME <= width and y + rows // 2 + FRAME + 1 <= height
        for (x, y), (rows, columns) in zip(places, sizes, strict=True)
    )


def _draw(canvas: Canvas, x: int, y: int, pattern: Pattern) -> None:
    """One matrix in a frame, its title above."""
    matrix = pattern.matrix
    columns = len(matrix[0])
    canvas.put(x, y, fit(canvas.words(pattern.title), columns + FRAME, canvas.set), "key")
    rows = _rows(matrix, canvas.set == "ascii")
    canvas.box(x, y + 1, columns + FRAME, len(rows) + FRAME)
    for number, row in enumerate(rows):
        canvas.put(x + 1, y + 2 + number, row, "one")


def _rows(matrix: Matrix, ascii_only: bool) -> list[str]:
    """Two rows of the matrix in one row of characters; in ASCII the upper one of the two."""
    rows = []
    for number in range(0, len(matrix), 2):
        upper = matrix[number]
        lower = matrix[number + 1] if number + 1 < len(matrix) else [False] * len(upper)
        if ascii_only:
            rows.append("".join("#" if seen else "." for seen in upper))
        else:
            rows.append("".join(HALVES[pair] for pair in zip(upper, lower, strict=True)))
    return rows
