"""Functions and constants the calculator knows by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from workbench.prompting.tools.arithmetic import (
    ArithmeticProblem,
    Number,
    checked,
    combine,
    factorial,
    inexact,
    power,
    rounded,
    square_root,
    whole,
)

MAXIMUM_CHOICE = 2_000


@dataclass(frozen=True)
class Function:
    """A function of at least `least` and at most `most` numbers, None for any count."""

    compute: Callable[..., Number]
    least: int = 1
    most: int | None = 1

    def __call__(self, name: str, values: Sequence[Number]) -> Number:
        """Its value; raises `ArithmeticProblem`."""
        if len(values) < self.least or (self.most is not None and len(values) > self.most):
            if self.most is None:
                count = f"at least {self.least}"
            else:
                count = f"{self.least}" if self.least == self.most else f"{self.least} or {self.most}"
            raise ArithmeticProblem(f"{name} takes {count} numbers, not {len(values)}")
        try:
            return checked(self.compute(*values))
        except OverflowError:
            raise ArithmeticProblem(f"the result of {name} is too large") from None
        except ValueError:
            raise ArithmeticProblem(f"{name} has no value there") from None


def _real(function: Callable[..., float]) -> Function:
    """A function of one number in double precision."""
    return Function(lambda value: function(inexact(value)))


def _circular(function: Callable[[float], float]) -> Function:
    """The same, where the last digit is the error of π: sin(π) is 0."""
    return Function(lambda value: round(function(inexact(value)), 15))


def _whole(function: Callable[..., int], least: int = 1, most: int | None = None) -> Function:
    """A function of whole numbers."""
    return Function(lambda *values: Fraction(function(*(whole(value) for value in values))), least, most)


def _logarithm(value: Number, base: Number | None = None) -> Number:
    logarithm = _natural(value)
    return logarithm if base is None else combine("/", logarithm, _natural(base))


def _natural(value: Number) -> float:
    # Fractions of thousands of digits have a logarithm, though no double is as large.
    if isinstance(value, Fraction):
        return math.log(value.numerator) - math.log(value.denominator)
    return math.log(value)


def _choose(count: Callable[[int, int], int]) -> Function:
    def compute(n: int, k: int) -> int:
        if max(n, k) > MAXIMUM_CHOICE:
            raise ArithmeticProblem(f"choices are among at most {MAXIMUM_CHOICE:,}")
        return count(n, k)

    return _whole(compute, 2, 2)


def _total(*values: Number) -> Number:
    total: Number = Fraction(0)
    for value in values:
        total = combine("+", total, value)
    return total


def _extreme(choose: Callable[[Any], Number]) -> Function:
    return Function(lambda *values: choose(values), 1, None)


FUNCTIONS: dict[str, Function] = {
    "abs": Function(abs),
    "sqrt": Function(square_root),
    "cbrt": _real(lambda value: math.copysign(abs(value) ** (1 / 3), value)),
    "pow": Function(power, 2, 2),
    "exp": _real(math.exp),
    "ln": Function(_natural),
    "log": Function(_logarithm, 1, 2),
    "log2": Function(lambda value: _natural(value) / math.log(2)),
    "log10": Function(lambda value: _natural(value) / math.log(10)),
    "sin": _circular(math.sin),
    "cos": _circular(math.cos),
    "tan": _circular(math.tan),
    "asin": _real(math.asin),
    "acos": _real(math.acos),
    "atan": _real(math.atan),
    "sinh": _real(math.sinh),
    "cosh": _real(math.cosh),
    "tanh": _real(math.tanh),
    "degrees": _real(math.degrees),
    "radians": _real(math.radians),
    "floor": Function(lambda value: Fraction(math.floor(value))),
    "ceil": Function(lambda value: Fraction(math.ceil(value))),
    "round": Function(rounded, 1, 2),
    "mod": Function(lambda left, right: combine("%", left, right), 2, 2),
    "factorial": Function(factorial),
    "comb": _choose(math.comb),
    "perm": _choose(math.perm),
    "gcd": _whole(math.gcd),
    "lcm": _whole(math.lcm),
    "min": _extreme(min),
    "max": _extreme(max),
    "sum": Function(_total, 1, None),
    "mean": Function(lambda *values: combine("/", _total(*values), Fraction(len(values))), 1, None),
}

CONSTANTS: dict[str, Number] = {"pi": math.pi, "π": math.pi, "e": math.e, "tau": math.tau, "τ": math.tau}


def known() -> str:
    """The names of all functions, for a message."""
    return ", ".join(sorted(FUNCTIONS))
