"""Answers in words."""

from __future__ import annotations

import re
import unicodedata

from workbench.prompting.answers.statements import statements

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_EDGES = " \t\r\n*_`\"'“”‘’"
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}")


def find_text(text: str) -> str | None:
    """What stands after the last mark of an answer, else the whole text; None where that is empty."""
    found = next(statements(text), text)
    found = _LATEX_TEXT.sub(r"\1", found).strip(_EDGES)
    if found.endswith(".") and not found.endswith("..") and "\n" not in found:
        found = found[:-1].rstrip(_EDGES)
    return found or None


def text_key(answer: str) -> str:
    """Two answers with the same key say the same: case, punctuation, articles and blanks do not count.

    As SQuAD's evaluation has it (Rajpurkar et al. 2016), where that leaves anything.
    """
    folded = unicodedata.normalize("NFKC", answer).casefold()
    kept = "".join(" " if unicodedata.category(char).startswith("P") else char for char in folded)
    words = " ".join(_ARTICLES.sub(" ", kept).split())
    return words or " ".join(folded.split())
