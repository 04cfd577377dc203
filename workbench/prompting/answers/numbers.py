"""Numbers in text, as exact fractions: `$1,234.50`, `3 1/2`, `½`, `50%`, `1.5 × 10^3`, `\\frac{3}{4}`."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterator
from fractions import Fraction

from workbench.prompting.answers.statements import statements

MOST_DIGITS = 300
"""Longer numbers are noise, and Python takes quadratic time to read them."""

_NUMBER = re.compile(
    r"""
    (?<!\d)(?<!\^)(?<!\^\{)                  # neither the middle of a number nor its exponent
    (?P<sign>(?<![\w)\]}.])[-+])?            # a dash after a word or number is no sign
    (?:[$€£¥₹]\s?)?
    (?P<inner>(?<![\w)\]}])-)?
    (?P<whole>\d{1,3}(?:[,\u00a0\u2009\u202f']\d{3})+(?!\d)|\d+|(?<![\w.])(?=\.\d))
    (?P<decimals>\.\d+)?
    (?:[eE](?P<exponent>[-+]?\d+)(?!\w)
      |\s?(?:[×x*·]|\\times|\\cdot)\s?10\s?(?:\^|\*\*)\s?\{?(?P<power>-?\d+)\}?)?
    (?:[ ](?P<part>\d+)[ ]?[/⁄][ ]?(?P<of>\d+)(?![\d/])|[ ]?[/⁄][ ]?(?P<denominator>\d+)(?![\d/]))?
    """,
    re.VERBOSE,
)
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_LATEX_SPACES = re.compile(r"\{,\}|\\[,!;]")
_FRACTION_SIGNS = re.compile("[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒]")


def find_number(text: str) -> Fraction | None:
    """The number a text answers with: the first one after the last mark of an answer, else the last one.

    After a mark, what follows the line's last `=` counts, as in “the answer is 3 + 4 = 7”.
    """
    for statement in statements(text):
        for part in (statement.rpartition("=")[2], statement):
            number = next(numbers(part), None)
            if number is not None:
                return number
    last = deque(numbers(text), maxlen=1)
    return last[0] if last else None


def numbers(text: str) -> Iterator[Fraction]:
    """Every number of a text, in order. Units, currencies and percent signs do not count."""
    for match in _NUMBER.finditer(_plain(text)):
        value = _value(match)
        if value is not None:
            yield value


def written(number: Fraction) -> str:
    """A number in its one form: `24`, `0.5`, `-1.25`, and `1/3` where decimals would not end."""
    digits, rest = 0, number.denominator
    for factor in (2, 5):
        count = 0
        while rest % factor == 0:
            rest, count = rest // factor, count + 1
        digits = max(digits, count)
    if rest != 1:
        return f"{number.numerator}/{number.denominator}"
    if digits == 0:
        return str(number.numerator)
    shifted = str(abs(number.numerator) * 10**digits // number.denominator).rjust(digits + 1, "0")
    return f"{'-' if number < 0 else ''}{shifted[:-digits]}.{shifted[-digits:]}"


def _plain(text: str) -> str:
    """The text with one spelling for signs, fractions and separators."""
    text = _LATEX_SPACES.sub(lambda found: "," if found[0] == "{,}" else "\u2009", text)
    text = _LATEX_FRACTION.sub(r" \1/\2", text).replace("\\$", "$").replace("−", "-")
    return _FRACTION_SIGNS.sub(lambda found: " " + unicodedata.normalize("NFKC", found[0]), text)


def _value(match: re.Match[str]) -> Fraction | None:
    whole = re.sub(r"[^\d]", "", match["whole"])
    decimals = (match["decimals"] or "").removeprefix(".")
    exponent = match["exponent"] or match["power"] or "0"
    below = match["of"] or match["denominator"] or "1"
    part = match["part"] or "0"
    if max(map(len, (whole, decimals, below, part))) > MOST_DIGITS or len(exponent) > 4:
        return None
    if abs(int(exponent)) > MOST_DIGITS or int(below) == 0:
        return None
    value = Fraction(int(whole + decimals or "0"), 10 ** len(decimals)) * Fraction(10) ** int(exponent)
    value = value + Fraction(int(part), int(below)) if match["part"] else value / int(below)
    negative = (match["sign"] or "").startswith("-") or match["inner"] is not None
    return -value if negative else value
