"""From a finished run on: its result beside what it began with, in the Playground or blind in the Rank tab.

Everything that reads the disk runs in threads.
"""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

from textual.app import App
from textual.widget import Widget

from workbench.errors import WorkbenchError
from workbench.store.preferences.sessions import Session
from workbench.store.runs import Run
from workbench.tui.notices import notify, notify_error
from workbench.tui.text import reveal_control

W = TypeVar("W", bound=Widget)
OPENING_SECONDS = 10.0
POLL_SECONDS = 0.02


async def ask_both(app: App[None], run: Run) -> None:
    """Open the Playground with one column for the model that a run began with and one for its result."""
    from workbench.prompting.ranking.old_new import old_and_new
    from workbench.tui.playground.setup import ModelChoice
    from workbench.tui.tabs.playground import PlaygroundTab

    try:
        sources = await asyncio.to_thread(old_and_new, run)
    except WorkbenchError as error:
        notify_error(app, error)
        return
    tab = await _opened(app, "playground", PlaygroundTab, "#columns")
    if tab is not None:
        choices = [ModelChoice("local", source.model, options=source.options) for source in sources]
        await tab.compare(choices)


async def rank_both(app: App[None], run: Run) -> None:
    """Open the Rank tab on a blind comparison of the two, on prompts that the run held out; the one there is,
    or one that is made."""
    from workbench.tui.tabs.rank import RankTab

    notify(app, f"Looking for what {reveal_control(run.name)} held out …")
    try:
        session = await asyncio.to_thread(_session, run)
    except WorkbenchError as error:
        notify_error(app, error)
        return
    tab = await _opened(app, "rank", RankTab, "#rank-question")
    if tab is not None:
        tab.read(session.name)
        tab.open_session = session.name


def _session(run: Run) -> Session:
    """The comparison of a run, its answers being generated. Raises `WorkbenchError`."""
    from workbench.prompting.ranking.control import ensure_generating
    from workbench.prompting.ranking.old_new import comparison_of, old_against_new
    from workbench.store.preferences.database import Database

    with Database() as database:
        session = comparison_of(database, run) or old_against_new(database, run)
    ensure_generating(session)
    return session


async def _opened(app: App[None], name: str, kind: type[W], part: str) -> W | None:
    """Go to a tab, which is made when it is first shown, and wait until it is whole; None where it is not."""
    app.tab = name  # type: ignore[attr-defined]
    deadline = time.monotonic() + OPENING_SECONDS
    while time.monotonic() < deadline and app.is_running:
        for tab in app.screen_stack[0].query(kind):
            if tab.is_mounted and tab.query(part):
                return tab
        await asyncio.sleep(POLL_SECONDS)
    return None
