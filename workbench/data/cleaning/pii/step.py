"""The step that finds personal data and scrubs it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from workbench.data.cleaning.beside import edit_beside
from workbench.data.cleaning.items import Item
from workbench.data.cleaning.pii.addresses import emails, machines
from workbench.data.cleaning.pii.finding import Find, Finder, settled
from workbench.data.cleaning.pii.names import classified, listed
from workbench.data.cleaning.pii.national import nationals
from workbench.data.cleaning.pii.numbers import cards, ibans, phones
from workbench.data.cleaning.verdicts import KEPT, Step, Verdict, changed, dropped
from workbench.recipe.cleaning.content import PIIStep

EXAMPLES = {
    "email": "email@example.com",
    "phone": "+1 202-555-0143",
    "ip": "192.0.2.1",
    "card": "0000 0000 0000 0000",
    "iban": "XX00 0000 0000 0000",
    "national": "000-00-0000",
    "name": "Jane Doe",
}
"""What is nobody's: RFC 2606's domain, numbers kept for fiction, RFC 5737's network, no valid number."""


NUMBERS = ("iban", "card", "national", "phone")
"""Kinds that stand on one line and have at least six digits there, so that other lines need no look."""

_SIX_DIGITS = re.compile(r"\d(?:[^\d\n]{0,4}\d){5}")


def lines_with_numbers(text: str) -> list[tuple[int, int]]:
    """The lines that hold six digits with at most four other characters between one and the next."""
    lines: list[tuple[int, int]] = []
    place = 0
    while match := _SIX_DIGITS.search(text, place):
        begin = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.end())
        end = len(text) if end < 0 else end
        lines.append((begin, end))
        place = end
    return lines


class PII(Step):
    """Finds e-mail addresses, phone numbers, addresses of machines, cards, accounts, national numbers,
    names."""

    name: ClassVar[str] = "pii"

    def __init__(self, settings: PIIStep) -> None:
        self.settings = s = settings
        makers: dict[str, Finder] = {}
        # Where two finds begin at one place and are equally long, the earlier finder has it.
        for kind, finder in (
            ("email", lambda: emails),
            ("iban", lambda: ibans),
            ("card", lambda: cards),
            ("national", lambda: nationals(s.national_countries)),
            ("ip", lambda: machines(s.keep_private_ips)),
            ("phone", lambda: phones(s.phone_regions)),
            ("name", lambda: classified(s.name_model) if s.name_model else listed),
        ):
            if kind in s.kinds:
                makers[kind] = finder()
        self.finders = makers

    def judge(self, item: Item) -> Verdict:
        found: Counter[str] = Counter()
        numbers: dict[tuple[str, str], int] = {}
        drops = self.settings.action == "drop"

        def counted(text: str) -> str:
            found.update(find.kind for find in self.find(text))
            return text

        def scrubbed(text: str) -> str:
            return self._scrub(text, found, numbers)

        item.edit(scrubbed if not drops and item.can_change else counted)
        beside, before = [], found.total()
        # What stands beside texts that must stay as they are may be changed all the same.
        goes = drops or (before > 0 and not item.can_change)
        for column in edit_beside(item, self.settings.columns, counted if goes else scrubbed):
            if found.total() > before:
                beside.append(column)
            before = found.total()
        if not found:
            return KEPT
        told: dict[str, Any] = {"found": dict(sorted(found.items()))}
        if beside:
            told["beside"] = beside  # the log has the texts only, before and after
        return (dropped if goes else changed)("+".join(sorted(found)), **told)

    def find(self, text: str) -> list[Find]:
        """All personal data in a text, in order, none overlapping."""
        allow = self.settings.allow
        finds = settled(self._all(text))
        if not finds:
            return finds
        return [find for find in finds if not any(find.value == a or find.value.endswith(a) for a in allow)]

    def _all(self, text: str) -> Iterator[Find]:
        lines: list[tuple[int, int]] | None = None
        for kind, finder in self.finders.items():
            if kind not in NUMBERS:
                yield from finder(text)
                continue
            if lines is None:
                lines = lines_with_numbers(text)
            for begin, end in lines:
                for find in finder(text[begin:end]):
                    yield find._replace(start=begin + find.start, end=begin + find.end)

    def _scrub(self, text: str, found: Counter[str], numbers: dict[tuple[str, str], int]) -> str:
        finds = self.find(text)
        if not finds:
            return text
        parts, end = [], 0
        for find in finds:
            found[find.kind] += 1
            parts += [text[end : find.start], self._instead(find, numbers)]
            end = find.end
        return "".join([*parts, text[end:]])

    def _instead(self, find: Find, numbers: dict[tuple[str, str], int]) -> str:
        if self.settings.replacement == "example":
            return EXAMPLES[find.kind]
        if self.settings.replacement == "tag":
            return f"[{find.kind.upper()}]"
        count = sum(kind == find.kind for kind, _ in numbers)
        return f"[{find.kind.upper()}_{numbers.setdefault((find.kind, find.value), count + 1)}]"
