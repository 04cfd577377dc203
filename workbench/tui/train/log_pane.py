"""The log pane: the end of `train.log`, literally, following it as it grows."""

from __future__ import annotations

from workbench.store.runs import Run
from workbench.tui.text import strip_control
from workbench.tui.train.sources import GrowingFile
from workbench.tui.widgets.text_lines import Line, plain

FIRST_BYTES = 1 << 18
MAXIMUM_LINES = 3000


class LogSource:
    """The last lines of a run's log."""

    def __init__(self, run: Run) -> None:
        self._file = GrowingFile(run.log_path, FIRST_BYTES)
        self._lines: list[Line] = []

    def poll(self) -> list[Line] | None:
        new = self._file.new_lines()
        if new is None:
            return None
        lines, fresh = new
        self._lines = [*([] if fresh else self._lines), *map(_line, lines)][-MAXIMUM_LINES:]
        rest = self._file.rest
        shown = [*self._lines, _line(rest)] if rest.strip() else list(self._lines)
        return shown or [plain("The worker has printed nothing yet.", "dim")]


def _line(raw: bytes) -> Line:
    # A progress bar redraws its line after each carriage return; the last state is what counts.
    text = raw.decode("utf-8", errors="replace").rstrip("\r").rpartition("\r")[2]
    text = strip_control(text)
    lowered = text[:200].lower()
    if "error" in lowered or "traceback" in lowered:
        return plain(text, "bad")
    return plain(text, "warn" if "warning" in lowered else "")
