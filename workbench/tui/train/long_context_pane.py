"""The long context pane: what the last evaluation on long text found, beside the baseline's where one is
pinned."""

from __future__ import annotations

from workbench.store import long_context
from workbench.store.long_context import Result
from workbench.store.runs import Run
from workbench.tui.train.long_context_report import report_lines
from workbench.tui.widgets.text_lines import Line, plain

WIDTH = 78
"""Columns that a report is laid out for: what a screen of 80 has room for."""
NOTHING = (
    "Nothing was read beyond this length yet. workbench context eval {run} --rope-scaling all reads it by "
    "each method; or T, where e starts that and c shows what lengths cost."
)


class LongContextSource:
    """The newest evaluation of a run, and of the pinned one before it."""

    def __init__(self, run: Run, baseline: Run | None, symbols: str) -> None:
        self._run, self._baseline, self._symbols = run, baseline, symbols
        self._seen: object = None

    def poll(self) -> list[Line] | None:
        seen = [
            long_context.signature(long_context.run_folder(run))
            for run in (self._run, self._baseline)
            if run is not None
        ]
        if seen == self._seen:
            return None
        self._seen = seen
        return pane_lines(self._run, self._baseline, self._symbols)


def pane_lines(run: Run, baseline: Run | None, symbols: str) -> list[Line]:
    """The lines of the pane."""
    shown = newest(run, baseline)
    if not shown:
        return [plain(NOTHING.format(run=run.name), "dim")]
    try:
        lines = report_lines(shown, symbols, WIDTH)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return [plain("The last evaluation cannot be read.", "bad")]
    return [
        *lines,
        plain(""),
        plain(
            "T shows curves, chooses evaluations and methods, starts them, and shows what lengths cost.",
            "dim",
        ),
    ]


def newest(run: Run, baseline: Run | None) -> list[Result]:
    """The last result of the baseline, where it is another run, and of the run itself."""
    runs = [
        other for other in (baseline, run) if other is not None and (other is run or other.name != run.name)
    ]
    found = [long_context.results_in(long_context.run_folder(one)) for one in runs]
    return [results[-1] for results in found if results]
