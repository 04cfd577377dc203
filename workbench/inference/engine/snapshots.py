"""States of sequences that ended, kept for a prompt that continues one of them."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.inference.engine.slots import Slot

MOST = 8
"""States kept at a time."""


@dataclass(frozen=True)
class _Snapshot:
    ids: list[int]
    slot: Slot
    bytes: int


class Snapshots:
    """The last few, the oldest first. A state is that after all its tokens: it serves a prompt that begins
    with just these, and is used up by it."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._kept: list[_Snapshot] = []

    @property
    def bytes(self) -> int:
        """What they take."""
        return sum(snapshot.bytes for snapshot in self._kept)

    def take(self, ids: list[int]) -> tuple[Slot, int] | None:
        """The slot of the longest that `ids` begin with, given away, and how many tokens it has read."""
        fitting = [kept for kept in self._kept if kept.ids == ids[: len(kept.ids)]]
        if not fitting:
            return None
        best = max(fitting, key=lambda kept: len(kept.ids))
        self._kept.remove(best)
        return best.slot, len(best.ids)

    def put(self, ids: list[int], slot: Slot, size: int) -> list[Slot]:
        """Keep a state; the slots of those that make room for it."""
        self._kept.append(_Snapshot(ids, slot, size))
        out, self._kept = self._kept[: -self.most], self._kept[-self.most :]
        return [kept.slot for kept in out]

    def shrink(self, wanted: int) -> list[Slot]:
        """Give up the oldest until the rest take at most `wanted` bytes; their slots."""
        out = []
        while self._kept and self.bytes > wanted:
            out.append(self._kept.pop(0).slot)
        return out
