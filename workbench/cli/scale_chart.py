"""Figures of a study as lines of text: the interface's own charts, drawn once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.cli import render

if TYPE_CHECKING:
    from workbench.scaling.figures import Figure

HEIGHT, WIDEST, NARROWEST = 16, 100, 40


def still(figure: Figure, *, width: int | None = None, height: int = HEIGHT) -> str:
    """A figure in braille, or in ASCII where the terminal has no more. Curves end in letters, as in the
    legend: there are no colours."""
    from workbench.tui.widgets.chart import picture
    from workbench.tui.widgets.chart.axes import Viewport
    from workbench.tui.widgets.chart.options import Options
    from workbench.tui.widgets.chart.series import Series, SeriesStyle

    width = width or min(WIDEST, max(NARROWEST, render.columns()))
    options = Options(
        title=figure.title,
        x_label=figure.x_label,
        y_label=figure.y_label,
        log_x=figure.log_x,
        log_y=figure.log_y,
        symbols="braille" if render.has_unicode() else "ascii",
        depth="few",
    )
    series = {
        str(number): Series(SeriesStyle(line.label, line.color, line.dashed, line.marks), line.x, line.y)
        for number, line in enumerate(figure.lines)
    }
    frame = picture.draw(series, options, Viewport(), width, height)
    lines = [row.tobytes().decode("utf-32-le").replace("\0", "").rstrip() for row in frame.codes]
    return "\n".join(lines)
