"""What a judge is told: the rubric, the scale, and which model it is."""

from __future__ import annotations

from pydantic import Field, field_validator

from workbench.recipe.section import Section

RUBRIC = """\
Whether the answer does what the task asks, is correct, and says no more than is needed. Where there is a \
reference answer, an answer is correct if it comes to the same, in whatever words."""
MOST_STEPS = 100


class JudgeSettings(Section):
    """How answers are judged; the judge always draws at temperature 0, under `seed`."""

    model: str = Field("", description="The judge, as --model names models. Empty: --judge names it.")
    rubric: str = Field(RUBRIC, min_length=1, description="What makes an answer good.")
    scale: tuple[int, int] = Field((1, 5), description="The worst and the best score, whole numbers.")
    max_tokens: int = Field(
        512, ge=16, description="Most tokens of a verdict; one that is cut off is malformed, and counted so."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="For servers that draw even at temperature 0.")

    @field_validator("scale")
    @classmethod
    def _goes_up(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 0 < value[1] - value[0] <= MOST_STEPS:
            raise ValueError(
                f"a scale goes from the worst score up to the best, in {MOST_STEPS} steps at most"
            )
        return value

    def share(self, score: int) -> float:
        """A score as its share of the scale: 0 for the worst, 1 for the best."""
        low, high = self.scale
        return (score - low) / (high - low)
