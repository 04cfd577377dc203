"""Places of sequences in the caches of all layers: numbered without a gap, so that nothing lies idle."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.inference.engine.layer_caches import LayerCache


@dataclass(eq=False)
class Slot:
    """One sequence's place. Its number changes when another one ends."""

    number: int
    limit: int
    """Tokens that it was promised room for: no more is taken ahead."""


class Slots:
    """The slots there are. A new one is the last; where one ends, the last moves to its place."""

    def __init__(self, caches: Many[LayerCache]) -> None:
        self._caches = caches
        self._all: list[Slot] = []

    def take(self, limit: int) -> Slot:
        """A new one, which holds nothing yet. Where memory runs out, all is as it was before."""
        slot = Slot(len(self._all), limit)
        done: list[LayerCache] = []
        try:
            for cache in self._caches:
                cache.add()
                done.append(cache)
        except BaseException:
            for cache in done:
                cache.remove(slot.number)
            raise
        self._all.append(slot)
        return slot

    def give(self, slot: Slot) -> None:
        """Free one."""
        for cache in self._caches:
            cache.remove(slot.number)
        last = self._all.pop()
        if last is not slot:
            last.number = slot.number
            self._all[last.number] = last
        slot.number = -1

    def reserve(self, slot: Slot, tokens: int) -> None:
        """Room for so many tokens in all layers."""
        for cache in self._caches:
            cache.reserve(slot.number, tokens, slot.limit)

    def fit(self, slot: Slot, tokens: int) -> None:
        """Give back what is more than so many tokens take."""
        slot.limit = tokens
        for cache in self._caches:
            cache.fit(slot.number, tokens)

    def copy(self, source: Slot, target: Slot, tokens: int) -> None:
        """Copy what one holds of its first tokens."""
        for cache in self._caches:
            cache.copy(source.number, target.number, tokens)
