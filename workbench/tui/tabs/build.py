"""The Build tab."""

from __future__ import annotations

from workbench.tui.widgets.hint import Hint


class BuildTab(Hint):
    """What a model is made of."""

    SENTENCE = "Design the shape of a model. Today, in a recipe: workbench recipe show nano"
