"""The step that takes toxic lines out, or records with them."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.toxicity.scoring import Score, Scorer
from workbench.data.cleaning.verdicts import KEPT, Rule, Step, Verdict, changed, dropped
from workbench.recipe.cleaning.content import ToxicityStep


class Toxicity(Step):
    """Scores each line, and does what the recipe says with those at or above the bound."""

    name: ClassVar[str] = "toxicity"

    def __init__(self, settings: ToxicityStep) -> None:
        self.settings = settings
        self.scorer = Scorer(settings)

    def judge(self, item: Item) -> Verdict:
        s = self.settings
        scores = [
            (line, self._score(line)) for text in item.texts for line in text.split("\n") if line.strip()
        ]
        toxic = {line: score for line, score in scores if score.value >= s.line_score}
        if not toxic:
            return KEPT
        most = max(toxic.values())
        why = Counter(reason for score in toxic.values() for reason in score.why)
        detail = {"value": most.value, "wants": f"< {s.line_score}", "lines": len(toxic), "why": dict(why)}
        reason = min(why, key=lambda name: (_ORDER.index(name), name))
        if s.action == "score":
            # Nothing is done with it: told as kept, but counted by the reports.
            return Verdict("kept", reason, detail)
        share = sum(line in toxic for line, _ in scores) / len(scores)
        if s.action == "drop" or share >= s.drop_share or not item.can_change:
            return dropped(reason, share=round(share, 3), **detail)
        item.edit(lambda text: "\n".join(line for line in text.split("\n") if line not in toxic))
        return changed(reason, **detail) if item.text.strip() else dropped(reason, share=1.0, **detail)

    def _score(self, line: str) -> Score:
        return self.scorer.score(line)

    def rules(self) -> dict[str, Rule]:
        bound = f"< {self.settings.line_score}"
        rule = Rule("toxicity.line_score", "highest score of a line", self._highest, bound)
        return dict.fromkeys(_ORDER, rule)

    def _highest(self, item: Item) -> float:
        return max((self._score(line).value for text in item.texts for line in text.split("\n")), default=0.0)


_ORDER = ("threat", "hate", "slur", "abuse", "vulgar", "model")
"""Reasons, the gravest first."""
