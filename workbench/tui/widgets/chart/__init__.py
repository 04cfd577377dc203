"""A live chart of curves in braille, on numpy. Importing it imports numpy."""

from workbench.tui.widgets.chart.options import Mark
from workbench.tui.widgets.chart.series import SeriesStyle
from workbench.tui.widgets.chart.widget import Chart

__all__ = ["Chart", "Mark", "SeriesStyle"]
