"""The Data tab."""

from __future__ import annotations

from workbench.tui.widgets.hint import Hint


class DataTab(Hint):
    """What a model learns from."""

    SENTENCE = "Read and clean data. Today: workbench train nano data.sources=book.txt"
