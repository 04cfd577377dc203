"""Numbers of the calculator: exact fractions as long as that is possible, else double precision.

Every result is bounded in size, so that no expression can take long: 2 ** 14,000 has 4,215 digits, fewer
than Python refuses to write out (4,300).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction

Number = Fraction | float

MAXIMUM_BITS = 14_000
MAXIMUM_FACTORIAL = 1_000
SIGNIFICANT_DIGITS = 15
EXACT_DIGITS = 40
DECIMALS = 100


class ArithmeticProblem(Exception):
    """An expression that has no value here; the message says why."""


def checked(value: Number) -> Number:
    """The value, if it is a number of bounded size."""
    if isinstance(value, Fraction):
        if value.numerator.bit_length() + value.denominator.bit_length() > MAXIMUM_BITS:
            raise ArithmeticProblem("the result is too large: more than 4,200 digits")
    elif not math.isfinite(value):
        raise ArithmeticProblem("the result is too large" if math.isinf(value) else "the result is undefined")
    return value


def inexact(value: Number) -> float:
    """The nearest double."""
    try:
        return float(value)
    except OverflowError:
        raise ArithmeticProblem("a number is too large for a function without exact result") from None


def combine(operator: str, left: Number, right: Number) -> Number:
    """The result of `+ - * / // %` or `^`."""
    if operator == "^":
        return power(left, right)
    if operator in "//%" and right == 0:
        raise ArithmeticProblem("division by zero")
    if isinstance(left, float) or isinstance(right, float):
        left, right = inexact(left), inexact(right)
    return checked(_OPERATIONS[operator](left, right))


_OPERATIONS: dict[str, Callable[[Number, Number], Number]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "//": lambda left, right: Fraction(left // right),
    "%": lambda left, right: left % right,
}


def power(base: Number, exponent: Number) -> Number:
    """`base` to the `exponent`, refused before it is computed when it would be too large."""
    if base == 0 and exponent < 0:
        raise ArithmeticProblem("division by zero")
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 2:
        base, exponent = square_root(base), Fraction(exponent.numerator)
    whole_exponent = isinstance(exponent, Fraction) and exponent.denominator == 1
    if base < 0 and not whole_exponent:
        raise ArithmeticProblem("a root of a negative number is not real")
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and whole_exponent:
        return _whole_power(base, exponent.numerator)
    return _float_power(base, exponent)


def _whole_power(base: Fraction, exponent: int) -> Number:
    if abs(base) == 1:
        return base if exponent % 2 else Fraction(1)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if base and max(bits - 1, 1) * abs(exponent) > MAXIMUM_BITS:
        raise ArithmeticProblem("the result is too large: more than 4,200 digits")
    return checked(base**exponent)


def _float_power(base: Number, exponent: Number) -> Number:
    try:
        return checked(math.pow(inexact(base), inexact(exponent)))
    except (OverflowError, ValueError):
        raise ArithmeticProblem("the result is too large") from None


def square_root(value: Number) -> Number:
    """Exact for squares of fractions."""
    if value < 0:
        raise ArithmeticProblem("a root of a negative number is not real")
    if isinstance(value, Fraction):
        root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
        if root * root == value:
            return root
    return math.sqrt(inexact(value))


def factorial(value: Number) -> Number:
    """n! of a whole number from 0 to 1,000."""
    number = whole(value)
    if not 0 <= number <= MAXIMUM_FACTORIAL:
        raise ArithmeticProblem(f"a factorial is of a whole number from 0 to {MAXIMUM_FACTORIAL:,}")
    return Fraction(math.factorial(number))


def whole(value: Number) -> int:
    """The value as an integer, which it must be."""
    if value != math.floor(value):
        raise ArithmeticProblem(f"{written(value)} is not a whole number")
    return math.floor(value)


def rounded(value: Number, digits: Number = Fraction(0)) -> Number:
    """Rounded to so many decimals, halves away from zero, as at school."""
    count = whole(digits)
    if abs(count) > DECIMALS:
        raise ArithmeticProblem(f"rounding is to at most {DECIMALS} decimals")
    scale = Fraction(10) ** count
    scaled = Fraction(value) * scale
    nearest = math.floor(abs(scaled) + Fraction(1, 2))
    return Fraction(nearest if scaled >= 0 else -nearest) / scale


def written(value: Number) -> str:
    """The number as text: all digits where it has an end, else 15 and the fraction it is."""
    if isinstance(value, float):
        return f"{value + 0.0:.{SIGNIFICANT_DIGITS}g}"
    if value.denominator == 1:
        return str(value.numerator)
    decimals = _decimals(value.denominator)
    if decimals is not None and decimals <= EXACT_DIGITS:
        digits = str(abs(value.numerator) * 10**decimals // value.denominator).rjust(decimals + 1, "0")
        return f"{'-' if value < 0 else ''}{digits[:-decimals]}.{digits[-decimals:]}"
    near = Context(prec=SIGNIFICANT_DIGITS).divide(Decimal(value.numerator), Decimal(value.denominator))
    exact = f"{value.numerator}/{value.denominator}"
    return f"{near:g} (exactly {exact})" if len(exact) <= EXACT_DIGITS else f"{near:g}"


def _decimals(denominator: int) -> int | None:
    """How many decimals a fraction has; None where they have no end, or are many more than are written."""
    if denominator.bit_length() > 5 * EXACT_DIGITS:
        return None
    counts = {2: 0, 5: 0}
    for prime in counts:
        while denominator % prime == 0:
            denominator //= prime
            counts[prime] += 1
    return max(counts.values()) if denominator == 1 else None
