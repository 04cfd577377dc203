"""The chart as a Textual widget: state, keys, mouse, and refreshing no more than what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.geometry import Region
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from workbench.tui.widgets.chart import picture
from workbench.tui.widgets.chart.axes import Viewport
from workbench.tui.widgets.chart.axis_marks import Plot
from workbench.tui.widgets.chart.canvas import CELL_DOTS, Symbols
from workbench.tui.widgets.chart.frame import Frame
from workbench.tui.widgets.chart.memory import Memory
from workbench.tui.widgets.chart.options import Mark, Options
from workbench.tui.widgets.chart.palette import Depth, style_table
from workbench.tui.widgets.chart.series import Marks, Series, SeriesStyle
from workbench.tui.widgets.chart.ticks import Kind
from workbench.tui.widgets.chart.tiles import TILES, Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.filter import LineFilter

    from workbench.store.growing import FloatArray

SMOOTHING_CYCLE = (0.0, 0.6, 0.9, 0.97)
PAN_SHARE = 0.1
ZOOM_FACTOR = 1.5


class Chart(Widget, can_focus=True):
    """Curves that may grow while they are looked at.

    `set_series` and `append` may be called at any time, before mounting too; what they change is drawn
    once, when the event loop comes to it. Points are kept by reference where they can be and never
    written to.
    """

    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; layout: horizontal; overflow: hidden hidden; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "sideways(-1)", "Left", show=False, id="chart.left"),
        Binding("right", "sideways(1)", "Right", show=False, id="chart.right"),
        Binding("plus,equals_sign", "zoom(1)", "Zoom in", key_display="+", id="chart.zoom_in"),
        Binding("minus", "zoom(-1)", "Zoom out", key_display="-", id="chart.zoom_out"),
        Binding("0", "reset_view", "All", id="chart.reset"),
        Binding("y", "log_y", "Log y", id="chart.log_y"),
        Binding("s", "smoothing", "Smooth", id="chart.smoothing"),
        Binding("c", "crosshair", "Crosshair", id="chart.crosshair"),
    ]

    title: reactive[str] = reactive("", repaint=False, init=False)
    x_label: reactive[str] = reactive("", repaint=False, init=False)
    y_label: reactive[str] = reactive("", repaint=False, init=False)
    x_kind: reactive[Kind] = reactive[Kind]("number", repaint=False, init=False)
    log_x: reactive[bool] = reactive(False, repaint=False, init=False)
    log_y: reactive[bool] = reactive(False, repaint=False, init=False)
    smoothing: reactive[float] = reactive(0.0, repaint=False, init=False)
    symbols: reactive[Symbols] = reactive[Symbols]("braille", repaint=False, init=False)
    crosshair: reactive[float | None] = reactive[float | None](None, repaint=False, init=False)

    def __init__(
        self,
        title: str = "",
        *,
        x_label: str = "",
        y_label: str = "",
        x_kind: Kind = "number",
        symbols: Symbols = "braille",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._series: dict[str, Series] = {}
        self._marks: tuple[Mark, ...] = ()
        self._viewport = Viewport()
        self._memory = Memory()
        self._frame: Frame | None = None
        self._base = Style()
        self._background = Color(0, 0, 0)
        self._filters: Sequence[LineFilter] = ()
        self._table: tuple[Style, ...] = ()
        # The number of the drawing that the tiles show, counted up whenever all of it is drawn anew.
        self._number = 0
        self._blank = Strip.blank(0)
        self._tiles = [Tile(self._drawing, self._line) for _ in range(TILES)]
        self._scheduled = False
        self.set_reactive(Chart.title, title)
        self.set_reactive(Chart.x_label, x_label)
        self.set_reactive(Chart.y_label, y_label)
        self.set_reactive(Chart.x_kind, x_kind)
        self.set_reactive(Chart.symbols, symbols)

    def compose(self) -> ComposeResult:
        yield from self._tiles

    # Points

    @property
    def series_keys(self) -> list[str]:
        """The keys of all series, in the order of the legend."""
        return list(self._series)

    def set_series(
        self,
        key: str,
        x: FloatArray,
        y: FloatArray,
        *,
        label: str,
        color: int | str = 0,
        dashed: bool = False,
        marks: Marks = "line",
    ) -> None:
        """Show these points under `key`, in place of those it had. Points need not be finite or sorted."""
        before = self._series.get(key)
        series = Series(SeriesStyle(label, color, dashed, marks), x, y)
        if before and before.x.length and series.x.length and series.x.view[-1] > before.x.view[-1]:
            self._viewport.live = True
        self._series[key] = series
        self._schedule()

    def append(self, key: str, x: FloatArray, y: FloatArray) -> None:
        """Add points to a series, in time proportional to their number. Raises `KeyError`."""
        if len(x):
            self._series[key].append(x, y)
            # From now on the right end of the x axis is rounded up, to stay while points arrive.
            self._viewport.live = True
            self._schedule()

    def remove_series(self, key: str) -> None:
        """Stop showing a series; nothing happens when there is none of this key."""
        if self._series.pop(key, None) is not None:
            self._schedule()

    def set_marks(self, marks: tuple[Mark, ...]) -> None:
        """Show these marks, in place of those it had."""
        if marks != self._marks:
            self._marks = marks
            self._schedule()

    def clear(self) -> None:
        """Remove all series and show all of what comes next."""
        self._series.clear()
        self._viewport = Viewport()
        self._schedule()

    # View

    def zoom(self, factor: float, center: float | None = None) -> None:
        """Show a `factor`-th of the x range in view, around the x `center` or the crosshair or middle."""
        center = self.crosshair if center is None else center
        place = None if center is None else self._place(center)
        self._viewport.zoom(factor, place)
        self._schedule()

    def pan(self, fraction: float) -> None:
        """Move a zoomed view by a fraction of its width; to later points when positive."""
        self._viewport.pan(fraction)
        self._schedule()

    def reset_view(self) -> None:
        """Show all points again and follow new ones."""
        self._viewport.reset()
        self._schedule()

    def move_crosshair(self, columns: int) -> None:
        """Move the crosshair by character columns, within the view."""
        if self.crosshair is not None:
            plot = self._plot()
            column = plot.column_of(self.crosshair, log=self.log_x)
            column = plot.columns // 2 if column is None else column + columns
            self.crosshair = plot.x_of(min(max(column, 0), plot.columns - 1), log=self.log_x)

    def _place(self, x: float) -> float | None:
        if not self.log_x:
            return x
        import math

        return math.log10(x) if x > 0 else None

    def _plot(self) -> Plot:
        """Where the plot lies across; its rows do not matter to who asks here."""
        gutter = self._viewport.gutter
        return Plot(0, gutter, max(1, self.size.width - gutter), 1, self._viewport.span, (0.0, 1.0))

    # Changes

    def validate_smoothing(self, weight: float) -> float:
        return min(max(weight, 0.0), 0.99)

    def validate_symbols(self, symbols: str) -> str:
        return symbols if symbols in CELL_DOTS else "braille"

    def watch_title(self) -> None:
        self._schedule()

    watch_x_label = watch_y_label = watch_x_kind = watch_crosshair = watch_title

    def watch_symbols(self) -> None:
        self._schedule()

    def watch_smoothing(self) -> None:
        self._viewport.y.span = None
        self._schedule()

    watch_log_y = watch_smoothing

    def watch_log_x(self) -> None:
        self._viewport.reset()
        self._schedule()

    def _schedule(self) -> None:
        """Have the chart drawn once after all that happens now."""
        if not self._scheduled:
            self._scheduled = True
            self.check_idle()

    def on_idle(self) -> None:
        # No message of our own is posted for an update: one costs as much as half the drawing.
        if self._scheduled and self.is_attached:
            self._scheduled = False
            self._update()

    def _update(self) -> None:
        before, table = self._frame, self._table
        if before is None or not self.size:
            self.refresh()
            return
        frame = self._draw()
        if self._table is not table or (frame.width, frame.height) != (before.width, before.height):
            self._frame = None
            self.refresh()
            return
        regions = frame.changed(before)
        parts = [part for tile in self._tiles for part in tile.parts(regions)] if regions else []
        if parts:
            # The tiles need not be told: they are asked for their lines, and one message is cheaper
            # than six.
            self.refresh(*parts)

    # Drawing

    @property
    def depth(self) -> Depth:
        """How many colours there are: many, the 16 of the oldest terminals, or none."""
        if self.app.no_color:
            return "none"
        system = self.app.console.color_system
        return "none" if system is None else "many" if system in ("256", "truecolor") else "few"

    @property
    def options(self) -> Options:
        """What is shown, apart from the points."""
        return Options(
            title=self.title,
            x_label=self.x_label,
            y_label=self.y_label,
            x_kind=self.x_kind,
            log_x=self.log_x,
            log_y=self.log_y,
            smoothing=self.smoothing,
            symbols=self.symbols,
            crosshair=self.crosshair,
            depth=self.depth,
            marks=self._marks,
        )

    def _draw(self) -> Frame:
        width, height = self.size
        options = self.options
        frame = picture.draw(self._series, options, self._viewport, width, height, self._memory)
        styles = tuple(series.style for series in self._series.values())
        table = style_table(self._base, styles, options.depth)
        self._frame, self._table = frame, table
        return frame

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Chart:
        """As of any widget, but what turns out to look the same is not sent again.

        Textual refreshes a widget whenever it gains or loses the focus, for which a chart without a
        border has nothing to show: 15 kB saved at 120×30.
        """
        if repaint and not regions:
            if not (layout or recompose) and self._looks_the_same():
                self._schedule()
                return self
            self._frame = None
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def _looks_the_same(self) -> bool:
        frame = self._frame
        return (
            frame is not None
            and self.is_attached
            and (frame.width, frame.height) == tuple(self.size)
            and not self.gutter
            and self.rich_style == self._base
        )

    def render_lines(self, crop: Region) -> list[Strip]:
        # The tiles cover a chart without a border: what lies beneath need not be drawn.
        if self.gutter:
            return super().render_lines(crop)
        if self._blank.cell_length != crop.width:
            self._blank = Strip.blank(crop.width, self.rich_style)
        return [self._blank] * crop.height

    def _drawing(self) -> int:
        """The number of the present drawing, which is made if there is none of this size."""
        frame = self._frame
        if frame is None or (frame.width, frame.height) != tuple(self.size):
            self._base = self.rich_style
            # Asked for once a drawing: both walk up the tree of widgets.
            self._background, self._filters = self.background_colors[1], self.get_line_filters()
            self._number += 1
            self._draw()
        return self._number

    def _line(self, y: int, region: Region) -> Strip:
        """A row of a tile, as it is sent."""
        frame = self._frame
        end = min(region.right, frame.width) if frame else 0
        if frame and 0 <= y < frame.height and region.x < end:
            strip = frame.strip(y, self._table, region.x, end).adjust_cell_length(region.width, self._base)
        else:
            strip = Strip.blank(region.width, self._base)
        for line_filter in self._filters:
            strip = strip.apply_filter(line_filter, self._background)
        return strip

    # Keys and mouse

    def action_sideways(self, direction: int) -> None:
        if self.crosshair is None:
            self.pan(PAN_SHARE * direction)
        else:
            self.move_crosshair(direction)

    def action_zoom(self, direction: int) -> None:
        self.zoom(ZOOM_FACTOR**direction)

    def action_reset_view(self) -> None:
        self.reset_view()

    def action_log_y(self) -> None:
        self.log_y = not self.log_y

    def action_smoothing(self) -> None:
        later = [weight for weight in SMOOTHING_CYCLE if weight > self.smoothing]
        self.smoothing = later[0] if later else 0.0

    def action_crosshair(self) -> None:
        plot = self._plot()
        self.crosshair = None if self.crosshair is not None else plot.x_of(plot.columns // 2, log=self.log_x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.crosshair is not None:
            self.crosshair = self._x_at(event)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.zoom(1.25, self._x_at(event))
        event.stop()
        event.prevent_default()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.zoom(0.8, self._x_at(event))
        event.stop()
        event.prevent_default()

    def _x_at(self, event: events.MouseEvent) -> float:
        plot = self._plot()
        column = event.screen_x - self.content_region.x - plot.left
        return plot.x_of(min(max(column, 0), plot.columns - 1), log=self.log_x)
