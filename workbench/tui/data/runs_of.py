"""Sets of token numbers as the inspection writes them: runs `[[first, last], …]`, both ends included."""

from __future__ import annotations


def indices_of(runs: list[list[int]]) -> list[int]:
    """The numbers in runs."""
    return [index for first, last in runs for index in range(first, last + 1)]
