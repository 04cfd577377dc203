"""The Playground tab."""

from __future__ import annotations

from workbench.tui.widgets.hint import Hint


class PlaygroundTab(Hint):
    """Talking to a model."""

    SENTENCE = "Prompt a model. Today: workbench train nano 'training.sample_prompts=[Hi]'"
