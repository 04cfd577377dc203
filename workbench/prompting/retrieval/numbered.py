"""Passages as the model reads them: numbered, within a budget, and fenced off from everything else.

Passages come from files that anyone may have written. Their text is given unchanged; what fences it is
chosen so that it occurs in none of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.prompting.fences import free_tag
from workbench.prompting.retrieval.chunking import BYTES_PER_TOKEN, measure
from workbench.prompting.retrieval.passage import Passage

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
QUOTES = str.maketrans({'"': "'", "<": "‹", ">": "›"})


@dataclass(frozen=True)
class Shown:
    """A passage under the number by which it is cited; `text` is its beginning where it was too long."""

    number: int
    passage: Passage
    text: str

    @property
    def is_cut(self) -> bool:
        """Whether a part of it was left out."""
        return len(self.text) < len(self.passage.text)


def within_budget(passages: Sequence[Passage], budget: int) -> list[Shown]:
    """The best passages, numbered from 1, that take `budget` tokens together (estimated); at least one.

    A first passage that is too long on its own is cut; any other one that does not fit is left out with all
    that come after it, so that no worse one takes the place of a better.
    """
    shown: list[Shown] = []
    for number, passage in enumerate(passages, 1):
        cost = measure(passage.text, "tokens")
        if cost > budget and shown:
            break
        text = passage.text if cost <= budget else _beginning(passage.text, budget * BYTES_PER_TOKEN)
        shown.append(Shown(number, passage, text))
        budget -= cost
    return shown


def _beginning(text: str, most_bytes: int) -> str:
    """As much of a text as its bytes allow, to the end of a word."""
    text = text.encode()[:most_bytes].decode(errors="ignore")
    cut = max(text.rfind(" "), text.rfind("\n"))
    return text[:cut].rstrip() if cut > len(text) // 2 else text


def fenced(shown: Sequence[Shown]) -> str:
    """The passages as one text, each between tags with its number and source."""
    tag = free_tag("passage", (entry.text for entry in shown))
    return "\n\n".join(
        f"<{tag} {_attributes(entry)}>\n{entry.text}{' …' if entry.is_cut else ''}\n</{tag}>"
        for entry in shown
    )


def _attributes(entry: Shown) -> str:
    under = " › ".join(entry.passage.headings)
    attributes = {"number": str(entry.number), "source": entry.passage.source, "under": under}
    return " ".join(f'{name}="{_quotable(value)}"' for name, value in attributes.items() if value)


def _quotable(text: str) -> str:
    return CONTROL.sub(" ", text).translate(QUOTES).strip()
