"""The Data tab."""

from __future__ import annotations

from workbench.tui.widgets.hint import Hint


class DataTab(Hint):
    """What a model learns from."""

    SENTENCE = "Here data will be cleaned. Today recipes name files: workbench train nano data.sources=a.txt"
