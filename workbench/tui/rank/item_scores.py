"""What a reward model says of the answers of a session."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.store.preferences.annotator import Task


class ItemScores:
    """Scores by item and answer, as they come in; `model` says whose they are, "" while there is none.

    `shown` says whether whoever ranks is to see them.
    """

    def __init__(self, model: str = "") -> None:
        self.model, self.shown = model, False
        self.unscored = 0
        """Items whose answers it cannot score."""
        self._found: dict[int, Mapping[int, float]] = {}

    @property
    def count(self) -> int:
        """How many items are scored."""
        return len(self._found)

    def take(self, item: int, scores: Mapping[int, float]) -> None:
        """The scores of an item's answers by their numbers; none where it cannot score them."""
        if scores:
            self._found[item] = scores
        else:
            self.unscored += 1

    def of(self, task: Task | None) -> tuple[float | None, ...]:
        """The score of each answer as shown, None where it is not to be seen."""
        found = self._found.get(task.item, {}) if task and self.shown else {}
        return tuple(found.get(number) for number in (task.shown if task else ()))

    def by_item(self) -> dict[int, list[float]]:
        """The scores of each item so far, for another thread to sort them by."""
        return {item: list(found.values()) for item, found in self._found.items()}

    def words(self) -> str:
        """How far it is."""
        if not self.model:
            return ""
        left = f", {self.unscored:,} not" if self.unscored else ""
        return f"sorted by {self.model}, {self.count:,} scored{left}"
