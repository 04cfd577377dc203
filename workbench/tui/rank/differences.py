"""How one answer differs from another, word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import islice

from workbench.tui.widgets.text_lines import Span

WORDS = re.compile(r"\w+|\s+|([^\w\s])\1*")
MOST_WORDS = 3_000
"""Words and gaps that are compared: what is behind them is shown as it is. Where all are alike, comparing
takes the square of it, here half a second."""
RELATED, ALIKE = 0.15, 0.4
"""The shares of words in common above which it helps to see what is other, and what is missing."""
OTHER, MISSING = "strong good", "strike bad"


def differences(text: str, reference: str) -> tuple[list[Span], float]:
    """The text in spans, those words marked that the reference does not have there, and the share of words
    that both have. Where much is the same, what only the reference has stands in it too, struck out; where
    hardly anything is, nothing is marked, for all of it would be."""
    ours, theirs = _words(text), _words(reference)
    # Blanks are no words: two texts that have only those in common would come out as half the same.
    mine = [number for number, word in enumerate(ours) if not word.isspace()]
    other = [number for number, word in enumerate(theirs) if not word.isspace()]
    matcher = SequenceMatcher(
        None, [ours[number] for number in mine], [theirs[number] for number in other], autojunk=False
    )
    alike = matcher.ratio()
    if alike < RELATED:
        return [(text, "")], alike
    spans: list[Span] = []
    done = 0

    def add_until(end: int, role: str) -> None:
        nonlocal done
        if done < end:
            spans.append(("".join(ours[done:end]), role))
        done = max(done, end)

    for kind, first, last, from_, until in matcher.get_opcodes():
        end = mine[last] if last < len(mine) else len(ours)
        if kind == "equal":
            add_until(end, "")
            continue
        if first < last:
            add_until(mine[first], "")
            add_until(mine[last - 1] + 1, OTHER)
        if alike >= ALIKE and from_ < until:
            lost = "".join(theirs[other[from_] : other[until - 1] + 1])
            blank = " " if first == last else ""
            spans.append((f"{'' if blank else ' '}{lost}{blank}", MISSING))
        add_until(end, "")
    add_until(len(ours), "")
    behind = text[sum(map(len, ours)) :]
    return [*spans, (behind, "")] if behind else spans, alike


def _words(text: str) -> list[str]:
    return [found.group() for found in islice(WORDS.finditer(text), MOST_WORDS)]
