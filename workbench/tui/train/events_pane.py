"""The events pane: what went wrong in a run, why, what was done and what to try; the newest first."""

from __future__ import annotations

from workbench.store.events import EventTail, RunEvent
from workbench.store.runs import Run
from workbench.tui.text import clock, reveal_control
from workbench.tui.widgets.text_lines import Line, plain

ROWS_SHOWN = 16
NAMES = 6
QUIET = (
    "No events: nothing went wrong that was noticed.",
    "",
    "Spikes, divergence, numbers that are none, rollbacks and changes of the loss scale are listed here, and "
    "marked in the charts. stability.guard says what is done about them.",
)


class EventsSource:
    """The events of a run, and of those that left rows out where these come from."""

    def __init__(self, run: Run, symbols: str) -> None:
        self._tail = EventTail(run.events_path)
        self._symbols = symbols
        self._read = False

    def poll(self) -> list[Line] | None:
        if not self._tail.poll() and self._read:
            return None
        self._read = True
        events = self._tail.events
        if not events:
            return [plain(text, "dim") for text in QUIET]
        lines: list[Line] = []
        for event in reversed(events):
            lines += [*lines_of(event, self._symbols), plain("")]
        return lines[:-1]


def lines_of(event: RunEvent, symbols: str) -> list[Line]:
    """One event: what it is, its explanation, the rows that were left out."""
    mark = ("!" if event.is_alarm else "^") if symbols == "ascii" else ("▲" if event.is_alarm else "△")
    back = f", back to step {event.to_step:,}" if event.to_step is not None else ""
    role = "bad" if event.is_alarm else "warn"
    when = f"  {clock(event.time)}" if event.time else ""
    head = reveal_control(f"{mark} step {event.step:,}: {event.title}{back}")
    lines: list[Line] = [((head, role), (when, "dim"))]
    for name, text in event.texts:
        lines.append(((f"  {name:<{NAMES}}", "key"), (reveal_control(text), "")))
    return lines + _rows(event)


def _rows(event: RunEvent) -> list[Line]:
    """Where the rows that were left out come from."""
    listed = (event.rows or {}).get("rows")
    if not isinstance(listed, list):
        return []
    rows = [row for row in listed if isinstance(row, dict)]
    lines: list[Line] = []
    for row in rows[:ROWS_SHOWN]:
        sources = row.get("sources")
        source = ", ".join(map(str, sources)) if isinstance(sources, list) else ""
        head = f"  row {row.get('row', '?')}  "
        begins = str(row.get("begins", ""))
        lines.append(((head, "dim"), (reveal_control(source), "key"), (f"  {reveal_control(begins)}", "")))
    shown, told = min(len(rows), ROWS_SHOWN), event.rows or {}
    first, end = told.get("first"), told.get("end")
    total = end - first if isinstance(first, int) and isinstance(end, int) else len(rows)
    if total > shown and rows:
        more = f"  … and {total - shown:,} more; workbench runs events RUN --rows lists the first"
        lines.append(plain(more, "dim"))
    if told.get("unreadable"):
        lines.append(plain(reveal_control(f"  they could not be read: {told['unreadable']}"), "dim"))
    return lines
