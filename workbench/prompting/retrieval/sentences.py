"""Where sentences begin: enough for cutting passages and for telling which sentence a citation belongs to."""

from __future__ import annotations

import re

# The looks behind keep a long row of full stops from being tried at each of them.
END = re.compile(r"""(?<![.!?…])[.!?…]+["'”’»)\]*_]*\s+|(?<![。！？])[。！？]+["”’」』）]*\s*""")
OPENERS = "\"'“”‘’«([*_#-–—¿¡"
WORD_BEFORE = re.compile(r"(\w[\w.]*)$")

# Written with a full stop inside a sentence; the second kind only before a number.
WORDS = "approx bzw ca cf co dept dr e.g gen i.e inc jr mr mrs ms mt prof resp sen sr st u.s vs z.b"
REFERENCES = "abb art ch chap eq eqs fig figs no nos nr p pp sec tab vol"
ABBREVIATIONS, BEFORE_NUMBERS = frozenset(WORDS.split()), frozenset(REFERENCES.split())


def sentence_starts(text: str, start: int = 0, end: int | None = None) -> list[int]:
    """Offsets in text[start:end] at which a new sentence begins; its own start is not among them."""
    end = len(text) if end is None else end
    return [
        match.end() for match in END.finditer(text, start, end) if _ends_sentence(text, match, start, end)
    ]


def _ends_sentence(text: str, match: re.Match[str], start: int, end: int) -> bool:
    if match.end() >= end:
        return False
    if match[0][0] in "。！？":
        return True
    following = text[match.end() : match.end() + 8].lstrip(OPENERS)
    if following[:1].islower():
        return False
    if match[0][0] != ".":
        return True
    before = WORD_BEFORE.search(text, max(start, match.start() - 24), match.start())
    if before is None:
        return True
    word = before[1].lower()
    if word in ABBREVIATIONS or (word in BEFORE_NUMBERS and following[:1].isdigit()):
        return False
    # An initial (J. Smith), or the number of a list's item.
    initial = len(word) == 1 and before[1].isupper()
    numbered = word.isdigit() and text[max(start, before.start() - 1) : before.start()] in ("", "\n")
    return not (initial or numbered)
