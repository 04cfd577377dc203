"""Which of several options a text chooses: a letter, a label, yes or no."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from workbench.prompting.answers.statements import statements

YES_NO = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}

_EDGES = " \t\r\n.,:;!()[]{}*_`\"'$\\"


def find_letter(text: str, letters: Sequence[str]) -> str | None:
    """The letter a text chooses: `B`, `(B)`, `B. Paris`, “the answer is B”; the last one where it wavers.

    A capital A before a word in lower case is an article, unless it stands after a mark of an answer.
    """
    known = {letter.casefold(): letter for letter in letters}
    small, capital = f"[{''.join(known)}]", f"[{''.join(known).upper()}]"
    for statement in statements(text):
        alone = statement.strip(_EDGES).casefold()
        if alone in known:
            return known[alone]
        named = re.search(rf"(?<![^\W_])(?:{capital}(?![^\W_])|\({small}\))", statement)
        if named:
            return known[named[0].strip("()").casefold()]
    bare = text.strip(_EDGES)
    if bare.casefold() in known:
        return known[bare.casefold()]
    first = re.match(rf"\s*[*_]*({capital})[).:]", text)
    if first:
        return known[first[1].casefold()]
    for pattern in (rf"\(({small}|{capital})\)", rf"(?<![\w'’])({capital})(?![\w'’]|\s[a-z])"):
        found = re.findall(pattern, text)
        if found:
            return known[found[-1].casefold()]
    return None


def find_word(text: str, words: Mapping[str, str]) -> str | None:
    """The option a text names, in the value of its word: after a mark, at its beginning, else the last."""
    for statement in statements(text):
        stated = next(_named(statement, words), None)
        if stated is not None:
            return stated[1]
    found = list(_named(text, words))
    if not found:
        return None
    begins = found[0][0] == len(text) - len(text.lstrip(_EDGES))
    return found[0 if begins else -1][1]


def _named(text: str, words: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Where each option is named, and its value; of two that overlap, the longer."""
    known = {word.casefold(): value for word, value in words.items()}
    longest_first = sorted(known, key=len, reverse=True)
    pattern = "|".join(re.escape(word) for word in longest_first)
    for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE):
        value = known.get(match[0].casefold())
        if value is not None:
            yield match.start(), value
