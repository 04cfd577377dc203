"""The Rank tab."""

from __future__ import annotations

from workbench.tui.widgets.hint import Hint


class RankTab(Hint):
    """Ordering answers by hand."""

    SENTENCE = "Rank answers by hand. Today, those of a file: workbench rank import FILE"
