"""What batches made of rows of pieces have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.data.pieces import PieceRows


@dataclass(frozen=True)
class PieceBatches:
    """As many rows as the source has, and as long."""

    source: PieceRows

    @property
    def length(self) -> int:
        """Tokens in a row, at most, as the encoder reads it."""
        return self.source.length

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has."""
        return self.source.rows_per_epoch(epoch)

    def report(self) -> dict[str, Any]:
        """See `PieceRows.report`."""
        return self.source.report()
