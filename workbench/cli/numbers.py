"""Numbers on the command line, for argparse: what is none is said as one says it."""

from __future__ import annotations

import argparse
import math


def natural(text: str) -> int:
    """A whole number from 0 on."""
    return _whole(text, 0, "from 0 on")


def positive(text: str) -> int:
    """A whole number from 1 on."""
    return _whole(text, 1, "above 0")


def amount(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"“{text}” is no number above 0")
    return value


def _whole(text: str, least: int, words: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"“{text}” is no whole number {words}")
    return number
