"""The score of a line: from 0, nothing found, to 1."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from workbench.data.cleaning.toxicity import lists
from workbench.errors import ModelError
from workbench.recipe.cleaning.content import ToxicityStep

_WORD = re.compile(r"[^\W_](?:[\w@$!*'’-]*[\w$*])?|[@$][\w@$!*]+")
_SPACED = re.compile(r"(?<!\w)(?:\w[ .\-_*]){2,}\w(?!\w)")
_LONG = re.compile(r"(.)\1{2,}")
_LEET = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"}
)


class Score(NamedTuple):
    """How toxic a line is, and by what: `threat`, `hate`, `slur`, `abuse`, `vulgar`, `model`."""

    value: float
    why: tuple[str, ...] = ()


CLEAN = Score(0.0)


class Scorer:
    """Scores lines. What is found adds up as independent evidence: 1 − Π(1 − weight)."""

    def __init__(self, settings: ToxicityStep) -> None:
        self._allow = {word.lower() for word in settings.allow}
        entries = lists.vulgar(tuple(settings.languages), tuple(settings.lists), tuple(settings.allow))
        self._words = frozenset(entry for entry in entries if " " not in entry)
        self._phrases = lists.phrases(entries)
        # Scripts without blanks have no words to look up: there, entries are looked for in the line.
        self._inside = [entry for entry in sorted(entries) if _wide(entry)]
        self._model = (
            classifier(settings.classifier, settings.classifier_label) if settings.classifier else None
        )

    def score(self, line: str) -> Score:
        """The score of one line."""
        found = list(self._found(line))
        if self._model is not None:
            found.append((self._model(line), "model"))
        rest = 1.0
        for weight, _ in found:
            rest *= 1 - weight
        if not found:
            return CLEAN
        why = dict.fromkeys(why for weight, why in found if weight >= 0.05) or {max(found)[1]: None}
        return Score(round(1 - rest, 6), tuple(why))

    def _found(self, line: str) -> Iterator[tuple[float, str]]:
        for name, weight, pattern in lists.PATTERNS:
            if pattern.search(line):
                yield weight, name
        words = [match[0].lower() for match in _WORD.finditer(line)]
        words += [re.sub(r"\W|_", "", match[0]).lower() for match in _SPACED.finditer(line)]
        for number, word in enumerate(words):
            kind = self._kind(word)
            if kind:
                yield kind
            elif word in self._phrases and any(
                words[number : number + len(phrase)] == phrase for phrase in self._phrases[word]
            ):
                yield lists.VULGAR, "vulgar"
        if not line.isascii():
            lowered = line.lower()
            yield from ((lists.VULGAR, "vulgar") for entry in self._inside if entry in lowered)

    def _kind(self, word: str) -> tuple[float, str] | None:
        for form in _forms(word):
            if form in self._allow:
                return None
            if form in lists.SLURS:
                return lists.SLUR, "slur"
            if form in self._words:
                return lists.VULGAR, "vulgar"
        if "*" in word.strip("*") and len(word) > 3:
            pattern = re.compile(re.escape(word).replace(r"\*", r"\w"))
            if any(pattern.fullmatch(slur) for slur in lists.SLURS):
                return lists.SLUR, "slur"
            if any(len(entry) == len(word) and pattern.fullmatch(entry) for entry in self._words):
                return lists.VULGAR, "vulgar"
        return None


def _forms(word: str) -> Iterator[str]:
    """A word as it stands, and as it may be meant: letters that are spelt with signs, or drawn out."""
    yield word
    if not word.isalpha() and not word.isdigit() and any(map(str.isalpha, word)):
        yield (plain := word.translate(_LEET))
        yield plain.removesuffix("'s")
    if _LONG.search(word):
        yield _LONG.sub(r"\1", word)
        yield _LONG.sub(r"\1\1", word)


def _wide(entry: str) -> bool:
    return any("\u0e00" <= letter <= "\u0eff" or "\u3040" <= letter <= "\u9fff" for letter in entry)


def classifier(folder: str, label: str) -> Callable[[str], float]:
    """The probability of a label by a transformers sequence classifier in a folder; lines of 512 tokens at
    most.

    Raises `ModelError` naming the labels there are.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ModelError(
            "toxicity.classifier is no folder", where=folder, hint="a folder of a sequence classifier"
        )
    loaded: list[Any] = []

    def score(line: str) -> float:
        if not loaded:
            loaded.append(_pipeline(path, label))
        scores = loaded[0](line, top_k=None, truncation=True, max_length=512)
        return max(
            (float(s["score"]) for s in scores if str(s["label"]).lower() == label.lower()), default=0.0
        )

    return score


@cache
def _pipeline(path: Path, label: str) -> Any:
    from transformers import pipeline

    try:
        model = pipeline("text-classification", model=str(path), device="cpu")
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"toxicity.classifier cannot be loaded: {reason}", where=str(path)) from None
    names = [str(name) for name in model.model.config.id2label.values()]
    if label.lower() not in {name.lower() for name in names}:
        raise ModelError(
            f"toxicity.classifier has no label “{label}”",
            where=str(path),
            hint=f"its labels: {', '.join(names)}",
        )
    return model
