"""What a step says of a record, and what a rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from workbench.data.cleaning.items import Item


@dataclass(frozen=True)
class Verdict:
    """`kept`, `changed` (the item was edited) or `dropped`, and why; `detail` holds figures."""

    action: str
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


KEPT = Verdict("kept")


def dropped(reason: str, **detail: Any) -> Verdict:
    """The record goes."""
    return Verdict("dropped", reason, detail)


def changed(reason: str, **detail: Any) -> Verdict:
    """The record stays, with other texts."""
    return Verdict("changed", reason, detail)


@dataclass(frozen=True)
class Rule:
    """One rule of a step: the key that sets it, what it measures, and the sense of its bound."""

    key: str
    measures: str
    measure: Callable[[Item], float]
    wants: str


class Step(ABC):
    """Judges one record at a time; the same record gets the same verdict, whatever came before it."""

    name: ClassVar[str]

    @abstractmethod
    def judge(self, item: Item) -> Verdict:
        """Say what becomes of a record, and edit it if that is what is said."""

    def rules(self) -> dict[str, Rule]:
        """The rules by the reason they give, for telling of what they measured."""
        return {}
