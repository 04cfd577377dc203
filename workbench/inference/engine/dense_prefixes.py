"""What has been read of earlier prompts, in chunks, for prompts that begin alike."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence as Many
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that takes memory, which prompts in work may hold as well."""

    users: int

    @property
    def bytes(self) -> int: ...


Kept = TypeVar("Kept", bound=Sized)


def chain(ids: Many[int], chunk: int, before: bytes = b"") -> list[bytes]:
    """A key for each whole chunk of `ids`, which stands for all tokens up to its end."""
    keys = []
    for start in range(0, len(ids) - chunk + 1, chunk):
        before = blake2b(before + array("q", ids[start : start + chunk]).tobytes(), digest_size=16).digest()
        keys.append(before)
    return keys


@dataclass
class _Entry(Generic[Kept]):
    value: Kept
    exact: bool


class Prefixes(Generic[Kept]):
    """The least recently used go first when there is more than `limit` bytes of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: OrderedDict[bytes, _Entry[Kept]] = OrderedDict()

    def find(self, key: bytes, *, exact: bool) -> tuple[Kept, bool] | None:
        """What is kept under a key, and whether reading would give the same bits; with `exact`, only then."""
        entry = self._entries.get(key)
        if entry is None or (exact and not entry.exact):
            return None
        self._entries.move_to_end(key)
        return entry.value, entry.exact

    def put(self, key: bytes, value: Kept, *, exact: bool) -> None:
        """Keep it, unless something at least as good is there."""
        entry = self._entries.get(key)
        if entry is None or (exact and not entry.exact):
            self._entries[key] = _Entry(value, exact)
        self._entries.move_to_end(key)
        self.shrink(self.limit)

    def idle_bytes(self) -> int:
        """What is held by no prompt in work."""
        return sum(entry.value.bytes for entry in self._entries.values() if not entry.value.users)

    def shrink(self, wanted: int) -> None:
        """Throw away, oldest first, until at most `wanted` bytes are idle."""
        idle = self.idle_bytes()
        for key in list(self._entries):
            if idle <= wanted:
                return
            value = self._entries[key].value
            if not value.users:
                idle -= value.bytes
                del self._entries[key]
