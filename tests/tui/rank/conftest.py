"""The Rank tab with sessions in it, and ways to wait for what it shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ranking_screen import ranker_of, tab_of, view_of
from textual.pilot import Pilot

from workbench.store.preferences.database import Database
from workbench.tui.app import WorkbenchApp


@pytest.fixture(autouse=True)
def annotator(monkeypatch: pytest.MonkeyPatch) -> str:
    """Who ranks."""
    monkeypatch.setenv("WORKBENCH_ANNOTATOR", "eve")
    return "eve"


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    """The rankings of the test's home."""
    with Database() as opened:
        yield opened


@pytest.fixture
def rank_app(annotator: str) -> WorkbenchApp:
    """The interface, which opens on the Rank tab."""
    app = WorkbenchApp()
    app.set_reactive(WorkbenchApp.tab, "rank")
    return app


@pytest.fixture
def opened(until: Any) -> Callable[[Pilot[None]], Awaitable[None]]:
    """Open the first session, and wait until its answers, or what stands for them, are there."""

    async def open_first(pilot: Pilot[None]) -> None:
        app = pilot.app
        await until(pilot, lambda: tab_of(app).table.rows and tab_of(app).table.has_focus)
        await pilot.press("enter")
        await until(pilot, lambda: ranker_of(app).standing and view_of(app).has_focus)
        await pilot.pause()

    return open_first
