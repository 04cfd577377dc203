"""What a chart is asked to show, apart from its points."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.tui.widgets.chart.canvas import Symbols
from workbench.tui.widgets.chart.palette import Depth
from workbench.tui.widgets.chart.ticks import Kind


@dataclass(frozen=True)
class Mark:
    """Something that happened at an x: a glyph on the x axis, and, where it is grave, a line up from it.
    `label` is shown while the crosshair stands on it."""

    x: float
    label: str
    grave: bool = True


@dataclass(frozen=True)
class Options:
    """`smoothing` is the weight of the moving average, 0 for none; `crosshair` an x, None when off."""

    title: str = ""
    x_label: str = ""
    y_label: str = ""
    x_kind: Kind = "number"
    log_x: bool = False
    log_y: bool = False
    smoothing: float = 0.0
    symbols: Symbols = "braille"
    crosshair: float | None = None
    depth: Depth = "many"
    marks: tuple[Mark, ...] = ()

    @property
    def envelope(self) -> bool:
        """Whether minimum and maximum are shown: not where faint colours cannot be told from bright."""
        return self.depth == "many"
