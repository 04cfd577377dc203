"""An answer, and how answers are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Told = Callable[[int, int], None]
"""Hears how many answers are written, of how many; may raise to have writing given up."""


@dataclass
class Answer:
    """The tokens of an answer, its end included where it came, and the log-probability of each as it was
    drawn."""

    ids: list[int]
    logprobs: list[float]


@dataclass(frozen=True)
class Manner:
    """How answers are written: at most `length` tokens, until one of `ends`, from the distribution at
    `temperature`, `rows` of them at a time."""

    length: int
    ends: frozenset[int]
    temperature: float
    rows: int
