"""What an answer cites, checked against the passages that it was given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from workbench.prompting.retrieval.marks import Sentence, numbers_in, sentences
from workbench.prompting.retrieval.numbered import Shown
from workbench.prompting.retrieval.support import Support, support_for

QUOTE = re.compile(r"“([^”\n]{1,1000})”|„([^“”\n]{1,1000})[“”]|«([^»\n]{1,1000})»|\"([^\"\n]{1,1000})\"")
FEWEST_WORDS = 3
"""Shorter quotations are mostly titles and terms, which say nothing about where a statement is from."""

LEFT_OUT = re.compile(r"\s*\[?(?:\.{3}|…)\]?\s*")
SAME = {"'": "['’‘]", "’": "['’‘]", "‘": "['’‘]", "-": "[-‐‑–—]", "–": "[-‐‑–—]", "—": "[-‐‑–—]"}


def check_citations(answer: str, shown: Sequence[Shown]) -> dict[str, Any]:
    """Where the citations of an answer point, as plain JSON.

    `by`: who cites, the `model`, or `words`: where the model cites nothing, each sentence is taken to be from
    the passage that holds its words, if one does; else `nothing`. `cited`: each passage cited, with its
    source, its offsets and lines or pages, and the numbers of the `sentences` (from 0) that cite it.
    `unknown`: numbers that no passage has. `sentences`: their text, offsets, the model's citations, and
    `support`, the passage that holds their words; `uncited` and `unsupported` count those without. `quotes`:
    what stands in quotation marks, with the number of the passage it is found in and its offsets in that
    document; the number is None where it is in none. `marked`: the answer with all its citations in it.
    """
    passages = {entry.number: entry for entry in shown}
    parts = sentences(answer)
    supports = [support_for(part.text, passages) for part in parts]
    numbers = numbers_in(answer)
    cites = [part.cited for part in parts]
    by, marked = "model", answer
    if not numbers:
        cites = [(support.number,) if support else () for support in supports]
        numbers = sorted({number for cited in cites for number in cited})
        by = "words" if numbers else "nothing"
        marked = _with_marks(answer, parts, cites)
    return {
        "by": by,
        "passages": len(shown),
        "cited": [
            {
                "number": number,
                **_place(passages[number]),
                "sentences": [index for index, cited in enumerate(cites) if number in cited],
            }
            for number in numbers
            if number in passages
        ],
        "unknown": [number for number in numbers if number not in passages],
        "sentences": [
            {
                "text": part.text,
                "start": part.start,
                "end": part.end,
                "citations": list(part.cited),
                "support": _supporting(support, passages) if support else None,
            }
            for part, support in zip(parts, supports, strict=True)
        ],
        "uncited": sum(not part.cited for part in parts),
        "unsupported": sum(support is None for support in supports),
        "quotes": [
            _quotation(match, _cited_at(parts, match.start()), passages)
            for match in QUOTE.finditer(answer)
            if len(_quoted(match).split()) >= FEWEST_WORDS
        ],
        "marked": marked,
    }


def summary(checked: dict[str, Any]) -> str:
    """The outcome of a check in one line."""
    cited, unknown, total = len(checked["cited"]), checked["unknown"], len(checked["sentences"])
    words = [f"{cited} of {checked['passages']} passages cited"]
    if checked["by"] == "words":
        found = f"{cited} passage{'s' if cited != 1 else ''}"
        words = [f"the model cites nothing; by its words, the answer is from {found}"]
    if unknown:
        words.append(f"no such passage: {', '.join(map(str, unknown))}")
    if checked["by"] == "model" and checked["uncited"]:
        words.append(f"{checked['uncited']} of {total} sentences cite nothing")
    if checked["unsupported"]:
        words.append(f"{checked['unsupported']} of {total} sentences are in no passage")
    invented = sum(quote["number"] is None for quote in checked["quotes"])
    if invented:
        words.append(f"{invented} of {len(checked['quotes'])} quotations are in no passage")
    return "; ".join(words)


def _with_marks(answer: str, parts: Sequence[Sentence], cites: Sequence[tuple[int, ...]]) -> str:
    """The answer with citations before the full stops of its sentences."""
    marked, done = "", 0
    for part, cited in zip(parts, cites, strict=True):
        if cited:
            end = part.start + len(part.text.rstrip(".!?…"))
            marked += f"{answer[done:end]} {''.join(f'[{number}]' for number in cited)}"
            done = end
    return marked + answer[done:]


def _supporting(support: Support, passages: dict[int, Shown]) -> dict[str, Any]:
    """Where the words of a sentence are, with offsets in the document."""
    offset = passages[support.number].passage.start
    span = {"start": offset + support.start, "end": offset + support.end}
    return {"number": support.number, "share": support.share, **span}


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
    for number in dict.fromkeys([*cited, *passages]):
        span = _find(quote, passages[number].text) if number in passages else None
        if span is not None:
            offset = passages[number].passage.start
            place = {"start": offset + span[0], "end": offset + span[1]}
            return {**result, "number": number, "is_cited": number in cited, **place}
    return result


def _find(quote: str, text: str) -> tuple[int, int] | None:
    """Where a text has a quotation, whatever its case, line breaks, apostrophes and dashes.

    An ellipsis may stand for anything; punctuation at the end of the quotation is its sentence's own.
    """
    start, end = -1, 0
    for part in LEFT_OUT.split(quote.strip().rstrip(".,;:!?")):
        if part:
            pattern = r"\s+".join(map(_word, part.split()))
            found = re.compile(pattern, re.IGNORECASE).search(text, end)
            if found is None:
                return None
            start, end = found.start() if start < 0 else start, found.end()
    return (start, end) if start >= 0 else None


def _word(word: str) -> str:
    return "".join(SAME.get(character) or re.escape(character) for character in word)
