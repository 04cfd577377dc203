"""What was decided in a session as records of one of the kinds that other programs read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workbench.store.preferences.exchange.arena import export_arena
from workbench.store.preferences.exchange.argilla import export_argilla
from workbench.store.preferences.exchange.pairs import export_pairs
from workbench.store.preferences.exchange.rankings import export_rankings
from workbench.store.preferences.judgements import Decided
from workbench.store.preferences.sessions import Session

Format = Literal["rankings", "pairs", "argilla", "arena"]


@dataclass(frozen=True)
class Exported:
    """The records, and in words what has no place in their kind; empty where that is nothing."""

    records: list[dict[str, Any]]
    left_out: str = ""


def export(
    decided: Sequence[Decided], session: Session, format: Format, *, margins: bool = False
) -> Exported:
    """Decisions as records; of pairs, `margins` are the differences of rank."""
    match format:
        case "rankings":
            return Exported(list(export_rankings(decided, session)))
        case "argilla":
            return Exported(list(export_argilla(decided)))
        case "arena":
            return Exported(list(export_arena(decided)))
    pairs = export_pairs(decided, margins=margins)
    left = [f"{pairs.tied:,} tied pairs"] if pairs.tied else []
    left += [f"{pairs.identical:,} of answers that are the same"] if pairs.identical else []
    return Exported(pairs.records, f"left out: {', '.join(left)}" if left else "")
