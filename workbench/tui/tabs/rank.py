"""The Rank tab."""

from __future__ import annotations

from workbench.tui.widgets.hint import Hint


class RankTab(Hint):
    """Ordering answers by hand."""

    SENTENCE = (
        "Rank answers by hand. Today, of rankings made elsewhere: workbench rank import FILE, then "
        "workbench rank leaderboard SESSION"
    )
