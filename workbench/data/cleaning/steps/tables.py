"""Rules as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.verdicts import Rule

Row = tuple[str, str, str, Callable[[Item], float], str]


def rule_table(step: str, rows: Sequence[Row]) -> dict[str, Rule]:
    """The rules of a step by their reasons; a row is reason, key, what is measured, how, and the bound."""
    return {
        reason: Rule(f"{step}.{key}", words, measure, wants) for reason, key, words, measure, wants in rows
    }
