"""What an answer cites, checked against the passages that it was given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from workbench.prompting.retrieval.marks import Sentence, numbers_in, sentences
from workbench.prompting.retrieval.numbered import Shown

QUOTE = re.compile(r"“([^”\n]+)”|„([^“”\n]+)[“”]|«([^»\n]+)»|\"([^\"\n]+)\"")
FEWEST_WORDS = 3
"""Shorter quotations are mostly titles and terms, which say nothing about where a statement is from."""

LEFT_OUT = re.compile(r"\s*\[?(?:\.{3}|…)\]?\s*")
SAME = {"'": "['’‘]", "’": "['’‘]", "‘": "['’‘]", "-": "[-‐‑–—]", "–": "[-‐‑–—]", "—": "[-‐‑–—]"}


def check_citations(answer: str, shown: Sequence[Shown]) -> dict[str, Any]:
    """Where the citations of an answer point, as plain JSON.

    `cited`: each passage cited, with its source, its offsets and lines or pages, and the numbers of the
    `sentences` (from 0) that cite it. `unknown`: numbers that no passage has. `sentences`: their text,
    offsets and citations; `uncited` counts those without. `quotes`: what stands in quotation marks, with
    the number of the passage it is found in and its offsets in that document; the number is None where it
    is in none.
    """
    passages = {entry.number: entry for entry in shown}
    parts = sentences(answer)
    numbers = numbers_in(answer)
    return {
        "passages": len(shown),
        "cited": [
            {
                "number": number,
                **_place(passages[number]),
                "sentences": [index for index, part in enumerate(parts) if number in part.cited],
            }
            for number in numbers
            if number in passages
        ],
        "unknown": [number for number in numbers if number not in passages],
        "sentences": [
            {"text": part.text, "start": part.start, "end": part.end, "citations": list(part.cited)}
            for part in parts
        ],
        "uncited": sum(not part.cited for part in parts),
        "quotes": [
            _quotation(match, _cited_at(parts, match.start()), passages)
            for match in QUOTE.finditer(answer)
            if len(_quoted(match).split()) >= FEWEST_WORDS
        ],
    }


def summary(checked: dict[str, Any]) -> str:
    """The outcome of a check in one line."""
    cited, unknown = len(checked["cited"]), checked["unknown"]
    words = [f"{cited} of {checked['passages']} passages cited"]
    if unknown:
        words.append(f"no such passage: {', '.join(map(str, unknown))}")
    if checked["uncited"]:
        words.append(f"{checked['uncited']} of {len(checked['sentences'])} sentences cite nothing")
    invented = sum(quote["number"] is None for quote in checked["quotes"])
    if invented:
        words.append(f"{invented} of {len(checked['quotes'])} quotations are in no passage")
    return "; ".join(words)


def _place(entry: Shown) -> dict[str, Any]:
    passage = entry.passage
    return {
        "path": passage.path,
        "source": passage.source,
        "unit": passage.unit,
        "first": passage.first,
        "last": passage.last,
        "start": passage.start,
        "end": passage.start + len(entry.text),
        "headings": list(passage.headings),
    }


def _cited_at(parts: Sequence[Sentence], offset: int) -> tuple[int, ...]:
    """What the sentence at an offset cites."""
    return next((part.cited for part in parts if part.start <= offset < part.end), ())


def _quoted(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None)


def _quotation(match: re.Match[str], cited: Sequence[int], passages: dict[int, Shown]) -> dict[str, Any]:
    """Where a quotation is from: a passage that its sentence cites, or else any."""
    quote = _quoted(match)
    result: dict[str, Any] = {"text": quote, "number": None, "is_cited": False}
    pattern = _loosely(quote)
    for number in dict.fromkeys([*cited, *passages]):
        found = pattern.search(passages[number].text) if number in passages else None
        if found:
            offset = passages[number].passage.start
            span = {"start": offset + found.start(), "end": offset + found.end()}
            return {**result, "number": number, "is_cited": number in cited, **span}
    return result


def _loosely(quote: str) -> re.Pattern[str]:
    """Matches a quotation whatever its case, line breaks, apostrophes and dashes, its last full stop aside.

    What an ellipsis stands for may be anything within the passage.
    """
    parts = [part.split() for part in LEFT_OUT.split(quote.strip().rstrip(".,;:!?"))]
    patterns = [r"\s+".join(map(_word, words)) for words in parts if words]
    return re.compile(r"[\s\S]*?".join(patterns), re.IGNORECASE)


def _word(word: str) -> str:
    return "".join(SAME.get(character) or re.escape(character) for character in word)
