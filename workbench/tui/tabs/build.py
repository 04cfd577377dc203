"""The Build tab."""

from __future__ import annotations

from workbench.tui.widgets.hint import Hint


class BuildTab(Hint):
    """What a model is made of."""

    SENTENCE = "Here models will be designed. Today a shape is part of a recipe: workbench recipe show nano"
