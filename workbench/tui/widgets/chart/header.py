"""The lines above a plot: the title with what is unusual about the view, and the legend with values."""

from __future__ import annotations

from workbench.tui.widgets.chart.canvas import ASCII_MARKS
from workbench.tui.widgets.chart.frame import Frame, cells_of
from workbench.tui.widgets.chart.options import Options
from workbench.tui.widgets.chart.palette import MUTED, SAMPLES, TITLE, WARNING, bright, patterns
from workbench.tui.widgets.chart.series import Series
from workbench.tui.widgets.chart.ticks import format_value


def rows(height: int) -> int:
    """Rows the header takes of a chart this high: none, the title, or title and legend."""
    return 0 if height < 5 else 1 if height < 8 else 2


def letter(owner: int) -> str:
    """What a series is called where colours cannot tell it from others."""
    return chr(ord("A") + owner % 26)


def write(
    frame: Frame,
    options: Options,
    listed: list[Series],
    skipped: int,
    *,
    zoomed: bool,
    marks: str = "",
) -> None:
    """Title on the left, notes on the right, and the legend below; under a crosshair its values and the
    `marks` there."""
    room = rows(frame.height)
    if not room:
        return
    if room == 1 and options.crosshair is not None:
        _legend(frame, 0, options, listed)
        return
    end = frame.text(0, 0, options.title, TITLE)
    if options.y_label:
        end = frame.text(0, end + 1, options.y_label, MUTED)
    _notes(frame, end + 2, options, skipped, zoomed, marks)
    if room == 2:
        _legend(frame, 1, options, listed)


def _notes(frame: Frame, left: int, options: Options, skipped: int, zoomed: bool, marks: str) -> None:
    notes = []
    if skipped:
        notes.append((f"{skipped:,} not positive, not shown", WARNING))
    if options.smoothing:
        notes.append((f"smooth {options.smoothing:g}", MUTED))
    if options.log_x:
        notes.append(("log x", MUTED))
    if options.log_y:
        notes.append(("log y", MUTED))
    if zoomed:
        notes.append(("zoomed", MUTED))
    if marks:
        notes.append((marks, WARNING))
    # From the right edge inwards, as long as there is room beside the title.
    column = frame.width
    for note, style in reversed(notes):
        start = column - len(note)
        if start < left:
            return
        frame.text(0, start, note, style)
        column = start - 3


def _legend(frame: Frame, row: int, options: Options, listed: list[Series]) -> None:
    column = 0
    if options.crosshair is not None:
        place = f"{options.x_label or 'x'} {format_value(options.crosshair, options.x_kind)}"
        column = frame.text(row, 0, place, TITLE) + 2
    # What has no name belongs to the series before it.
    named = [owner for owner, series in enumerate(listed) if series.style.label]
    samples = [_samples(options, listed)[owner] for owner in named]
    listed = [listed[owner] for owner in named]
    labels = [cells_of(series.style.label) for series in listed]
    gap = 3 if frame.width >= 60 else 2
    room = frame.width - column - sum(len(sample) + 1 + gap for sample in samples) + gap
    values, share = _fit(options, listed, labels, room)
    for count, (owner, series, sample, value) in enumerate(zip(named, listed, samples, values, strict=True)):
        if column + len(sample) + 2 > frame.width:
            left = f"+{len(labels) - count}"
            frame.text(row, frame.width - len(left), left, MUTED)
            return
        column = frame.text(row, column, sample, bright(owner)) + 1
        column = frame.text(row, column, series.style.label, 0, column + share)
        if value:
            column = frame.text(row, column + 1, value, MUTED if options.crosshair is None else TITLE)
        column += gap


def _fit(options: Options, listed: list[Series], labels: list[str], room: int) -> tuple[list[str], int]:
    """The values to write and the cells each label may take, so that the legend stays on one line.

    Under a crosshair values are what a person looks for: labels are cut first. Otherwise the values go.
    """
    values = [_value(series, options, raw=True) for series in listed]
    widths = sorted(len(label) for label in labels)
    if sum(widths) + sum(len(value) + 1 for value in values) > room:
        values = [
            _value(series, options, raw=False) if options.crosshair is not None else "" for series in listed
        ]
    left = room - sum(len(value) + 1 for value in values if value)
    share = left
    for index, width in enumerate(widths):
        share = left // (len(widths) - index)
        if width > share:
            break
        left -= width
    else:
        return values, max(widths, default=1)
    return values, max(share, 1)


def _samples(options: Options, listed: list[Series]) -> list[str]:
    if options.symbols == "ascii":
        samples = [ASCII_MARKS[owner % len(ASCII_MARKS)] for owner in range(len(listed))]
    else:
        samples = [SAMPLES[pattern] for pattern in patterns([one.style for one in listed], options.depth)]
        # What is no line is not shown as one.
        own = {"points": "╋", "bars": "┃"}
        samples = [own.get(one.style.marks, sample) for one, sample in zip(listed, samples, strict=True)]
    if options.depth == "none" and len(listed) > 1:
        samples = [f"{letter(owner)} {sample}" for owner, sample in enumerate(samples)]
    return samples


def _value(series: Series, options: Options, *, raw: bool) -> str:
    """The last value, or the one under the crosshair; then `raw` adds the unsmoothed one in brackets."""
    if not series.x.length:
        return ""
    if options.crosshair is None:
        points = series.track(options.log_y, options.smoothing) if options.smoothing else None
        if points is None or not points.y.length:
            return format_value(float(series.y.view[-1]))
        last = float(points.y.view[-1])
        return format_value(10.0**last if options.log_y else last)
    nearest = series.nearest(options.crosshair)
    if nearest is None:
        return ""
    if not options.smoothing:
        return format_value(nearest[1])
    smooth = series.nearest(options.crosshair, options.smoothing)
    if smooth is None:
        return ""
    return format_value(smooth[1]) + (f" ({format_value(nearest[1])})" if raw else "")
