"""What the cleaning view has done in threads: the rules tried on some records, and the log of a step read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.tui.data.cleaning_pane import CleaningPane

TRIED = 300
"""Records that the rules are tried on."""


def try_rules(pane: CleaningPane) -> None:
    """Try the rules; a process of its own reads the sources, and ends when nobody waits for it."""
    pane.say(f"trying the rules on {TRIED} records …")

    def work() -> None:
        from textual.worker import get_current_worker

        from workbench.errors import WorkbenchError
        from workbench.tui.notices import notify_error

        worker = get_current_worker()
        try:
            found = pane.draft.trial(TRIED, lambda: worker.is_cancelled)
        except WorkbenchError as error:
            if not worker.is_cancelled:
                _tell(pane, pane.say, "")
                notify_error(pane.app, error)
            return
        if not worker.is_cancelled:
            _tell(pane, pane.take_trial, found)

    pane.run_worker(work, thread=True, group="trial", exclusive=True)


def read_log(pane: CleaningPane, step: str, reason: str) -> None:
    """Read what a step dropped and changed: of many shards, or of one reason, that takes a while."""
    draft = pane.draft

    def work() -> None:
        from textual.worker import get_current_worker

        from workbench.errors import WorkbenchError

        worker = get_current_worker()
        try:
            found = draft.read_log(step, reason)
        except (WorkbenchError, OSError, ValueError):
            # Gone, or damaged by hand.
            found = None
        if not worker.is_cancelled:
            _tell(pane, pane.take_log, found)

    pane.run_worker(work, thread=True, group="log", exclusive=True)


def _tell(pane: CleaningPane, take: Callable[..., None], *values: Any) -> None:
    """On the interface's thread, where the pane may be gone by then."""
    pane.app.call_from_thread(lambda: take(*values) if pane.is_attached else None)
