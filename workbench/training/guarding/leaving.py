"""Rows that went wrong, and the epochs after: what they were made of is not met again.

A row is left out where it stands by its number (`Ledger.skip`). In the next epoch its documents or records
stand elsewhere and, packed, beside others; so they are taken out of all epochs that nothing was read of yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.training.guarding.origins import innermost

if TYPE_CHECKING:
    from workbench.objectives import Rows
    from workbench.training.guarding.ledger import Ledger


def note(rows: Rows, ledger: Ledger, first: int, end: int, reached: int) -> None:
    """Write into the ledger that what rows `first` to before `end` are made of is to be left out of epochs
    that begin behind all rows that were ever taken, now up to before `reached`."""
    ledger.reached = max(ledger.reached, reached)
    inner: Any = innermost(rows)
    if first < end and hasattr(inner, "leave_out"):
        ledger.left_out.append([first, end, inner.epoch_of(max(end, ledger.reached) - 1) + 1])


def leave_out(rows: Rows, ledger: Ledger, known: int) -> int:
    """Have `rows` be without what the ledger says, of which they know the first `known` entries already.
    Returns how many they know now. The same on all processes, and in a resumed run."""
    inner: Any = innermost(rows)
    for first, end, epoch in ledger.left_out[known:]:
        inner.leave_out(first, end, epoch)
    return len(ledger.left_out)
