"""What tests look at in the Rank tab, and in the database behind it."""

from __future__ import annotations

from typing import Any

from workbench.store.preferences.annotator import Annotator
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import find_session
from workbench.tui.rank.order_line import OrderLine
from workbench.tui.rank.ranker import Ranker
from workbench.tui.rank.ranking_view import RankingView
from workbench.tui.tabs.rank import RankTab


def tab_of(app: Any) -> RankTab:
    """The Rank tab."""
    tab: RankTab = app.screen_stack[0].query_one(RankTab)
    return tab


def view_of(app: Any) -> RankingView:
    """The ranking screen."""
    view: RankingView = app.screen_stack[0].query_one(RankingView)
    return view


def ranker_of(app: Any) -> Ranker:
    """What the ranking screen is about."""
    ranker = view_of(app).ranker
    if ranker is None:
        raise LookupError("no session is open")
    return ranker


def order_of(app: Any) -> str:
    """What the order line says."""
    return str(app.screen_stack[0].query_one(OrderLine).words)


def decisions(session: str = "tests", name: str = "eve") -> list[tuple[str, tuple[int, ...]]]:
    """What the disk has of an annotator: kind and ranks of every decision that holds, as they were made."""
    with Database() as database:
        annotator = Annotator(database, find_session(database, session), name)
        found = []
        task = annotator.back()
        while task is not None and task.decision is not None:
            found.append((task.decision.kind, task.decision.ranks))
            task = annotator.back(task)
    return found[::-1]
