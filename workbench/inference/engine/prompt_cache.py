"""Blocks of keys and values that several prompts begin with, kept for the next that does.

A block is known by its tokens and all before it. Oldest go first when memory is wanted; what is in use
stays with whoever uses it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Generic, TypeVar

Content = TypeVar("Content")

ROOT = b""


def block_keys(ids: Many[int], size: int, *, root: bytes = ROOT, first: int | None = None) -> list[bytes]:
    """The keys of all whole blocks that a sequence begins with: one of `first` tokens, where that is given,
    and then of `size`. `root` stands for what is before the sequence."""
    keys, key, start, end = [], root, 0, first or size
    while end <= len(ids):
        tokens = ",".join(map(str, ids[start:end]))
        key = hashlib.blake2b(key + tokens.encode(), digest_size=16).digest()
        keys.append(key)
        start, end = end, end + size
    return keys


@dataclass
class _Entry(Generic[Content]):
    content: Content
    size: int
    is_exact: bool


class PromptCache(Generic[Content]):
    """Contents by block key, the least recently used first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, _Entry[Content]] = OrderedDict()
        self.bytes = 0

    def find(self, keys: Many[bytes], *, exact: bool) -> list[Content]:
        """The contents of as many of the first keys as are there; with `exact` only those that were put in
        as `is_exact`."""
        found = []
        for key in keys:
            entry = self._entries.get(key)
            if entry is None or (exact and not entry.is_exact):
                break
            self._entries.move_to_end(key)
            found.append(entry.content)
        return found

    def put(self, key: bytes, content: Content, size: int, *, is_exact: bool) -> None:
        """Keep a block of `size` bytes; one that is exact takes the place of one that is not."""
        known = self._entries.get(key)
        if known is not None:
            if known.is_exact or not is_exact:
                return
            self.bytes -= known.size
        self._entries[key] = _Entry(content, size, is_exact)
        self._entries.move_to_end(key)
        self.bytes += size

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def shrink(self, wanted: int) -> None:
        """Drop the oldest until at most `wanted` bytes are kept."""
        while self.bytes > max(0, wanted):
            _, entry = self._entries.popitem(last=False)
            self.bytes -= entry.size
