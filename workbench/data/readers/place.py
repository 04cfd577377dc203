"""Where a reader stands in a file, so that reading can go on from there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Place:
    """The next record begins `offset` bytes into the (unpacked) file, in line `line`.

    Readers by line take one, begin there, and keep it up to date: when a record comes out of them, it
    stands behind that record.
    """

    offset: int = 0
    line: int = 1
