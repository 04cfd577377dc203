"""The charts of a study: one, or all three where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.containers import Container

from workbench.tui.settings import Symbols

if TYPE_CHECKING:
    from workbench.scaling.figures import Figure


class ScalingCharts(Container):
    """Shows figures side by side, or those first that there is room for."""

    DEFAULT_CSS = """
    ScalingCharts { layout: grid; grid-size: 1 1; grid-gutter: 1 2; height: 1fr; width: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.symbols: Symbols = "braille"

    def show(self, figures: Sequence[Figure], columns: int) -> None:
        """Show these, in so many columns."""
        from workbench.tui.widgets.chart import Chart

        charts = list(self.query(Chart))
        for _ in range(len(figures) - len(charts)):
            chart = Chart()
            charts.append(chart)
            self.mount(chart)
        rows = -(-len(figures) // columns) or 1
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        for number, chart in enumerate(charts):
            chart.display = number < len(figures)
            if chart.display:
                # The first has the whole row where one is left over.
                chart.styles.column_span = 1 + (columns * rows - len(figures)) if number == 0 else 1
                _draw(chart, figures[number], self.symbols)


def _draw(chart: object, figure: Figure, symbols: Symbols) -> None:
    from workbench.tui.widgets.chart import Chart

    assert isinstance(chart, Chart)
    chart.clear()
    chart.title, chart.x_label, chart.y_label = figure.title, figure.x_label, figure.y_label
    chart.log_x, chart.log_y, chart.symbols = figure.log_x, figure.log_y, symbols
    for number, line in enumerate(figure.lines):
        chart.set_series(
            str(number),
            line.x,
            line.y,
            label=line.label,
            color=line.color,
            dashed=line.dashed,
            marks=line.marks,
        )
