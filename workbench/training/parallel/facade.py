"""A model as an objective calls it, with arguments put in that the objective knows nothing of."""

from __future__ import annotations

from typing import Any


class Facade:
    """Stands before a model that is split: passes calls on with `changes`, and answers what objectives
    ask."""

    keeps_logits = True
    """The head is split or gathered for the forward pass: nothing may be computed in its place."""

    def __init__(self, model: Any, changes: dict[str, Any]) -> None:
        self.model, self.changes = model, changes

    def __call__(self, **given: Any) -> Any:
        return self.model(**{**given, **self.changes})

    def get_output_embeddings(self) -> Any:
        """The model's head."""
        return self.model.get_output_embeddings()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)
