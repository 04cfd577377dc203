"""The Rank tab."""

from __future__ import annotations

from workbench.tui.widgets.hint import Hint


class RankTab(Hint):
    """Ordering answers by hand."""

    SENTENCE = "Here answers will be ranked by hand. Today runs can be compared: workbench runs compare A B"
