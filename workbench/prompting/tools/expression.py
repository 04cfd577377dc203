"""Reading what people and models write as arithmetic, and working it out as it is read.

sum      = product (("+" | "-") product)*
product  = signed (("*" | "/" | "//" | "%" | "mod" | "of") signed | signed)*      3(4 + 5), 2π
signed   = ("+" | "-") signed | raised
raised   = postfix (("^" | "**") signed | superscript)?                           -2^2 is -4
postfix  = atom ("!" | "%" | "°")*                                                15% is 0.15
atom     = number | "(" sum ")" | "√" postfix | name | name "(" sum ("," sum)* ")"
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from workbench.prompting.tools import functions
from workbench.prompting.tools.arithmetic import (
    ArithmeticProblem,
    Number,
    checked,
    combine,
    factorial,
    inexact,
    power,
    square_root,
)

MAXIMUM_CHARACTERS = 1_000
MAXIMUM_EXPONENT = 4_000

# The signs of typeset mathematics as those of a keyboard.
SIGNS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "∕": "/", "−": "-", "–": "-"})
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")

_GROUPED = re.compile(r"\d{1,3}(?:[,'\u2009\u00a0\u202f]\d{3})+(?![\d,])(?:\.\d+)?")
_NUMBER = re.compile(r"(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*|π|τ")
_SUPERSCRIPT = re.compile(r"⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_TIMES = re.compile(r"[xX](?![A-Za-z])")
_OPERAND = re.compile(r"[\d.(√πτ$€£¥]|(?!of\b|mod\b|[xX]\b)[A-Za-z]")


def evaluate(text: str) -> Number:
    """The value of an arithmetic expression; raises `ArithmeticProblem`."""
    if len(text) > MAXIMUM_CHARACTERS:
        raise ArithmeticProblem(
            f"the expression has {len(text):,} characters, at most {MAXIMUM_CHARACTERS:,} do"
        )
    try:
        return _Reader(text).whole()
    except RecursionError:
        raise ArithmeticProblem("the expression is nested too deeply") from None


class _Reader:
    """A place in a text, moving to the right."""

    def __init__(self, text: str) -> None:
        self.text = text.translate(SIGNS).strip().strip("=")
        self.place = 0
        self.commas_separate = False

    def whole(self) -> Number:
        value = self.sum()
        if self.ahead():
            raise self.problem("expected an operator")
        return value

    def sum(self) -> Number:
        value = self.product()
        while sign := self.take("+", "-"):
            value = combine(sign, value, self.product())
        return value

    def product(self) -> Number:
        value = self.signed()
        while True:
            if operator := self.take("//", "/", "%") or ("*" if self.times() else ""):
                value = combine(operator, value, self.signed())
            elif self.word("mod"):
                value = combine("%", value, self.signed())
            elif re.match(r"[(√πτA-Za-z]", self.ahead()):
                value = combine("*", value, self.signed())
            else:
                return value

    def times(self) -> bool:
        """Whether a multiplication sign is next; an “x” is one when it stands alone."""
        # A second star makes it a power, which is looked for first.
        return bool(self.take("*") or self.word("of") or self.match(_TIMES))

    def signed(self) -> Number:
        if sign := self.take("+", "-"):
            value = self.signed()
            return -value if sign == "-" else value
        return self.raised()

    def raised(self) -> Number:
        value = self.postfix()
        if exponent := self.match(_SUPERSCRIPT):
            return power(value, Fraction(exponent.translate(SUPERSCRIPTS)))
        return power(value, self.signed()) if self.take("**", "^") else value

    def postfix(self) -> Number:
        value = self.atom()
        while True:
            if self.take("!"):
                value = factorial(value)
            elif self.take("°"):
                value = inexact(value) * (math.pi / 180)
            elif self.ahead().startswith("%") and not _OPERAND.match(self.ahead()[1:].lstrip()):
                self.take("%")
                value = value / 100
            else:
                return value

    def atom(self) -> Number:
        self.take("$", "€", "£", "¥")
        if self.take("√"):
            return square_root(self.postfix())
        if self.take("("):
            return self.inside(commas_separate=False)[0]
        if (number := self.number()) is not None:
            return number
        start = self.place
        if name := self.match(_NAME):
            return self.named(name, start)
        raise self.problem("expected a number")

    def number(self) -> Number | None:
        grouped = "" if self.commas_separate else self.match(_GROUPED)
        if grouped:
            return checked(Fraction(re.sub(r"[^\d.]", "", grouped)))
        text = self.match(_NUMBER).replace("_", "")
        if not text:
            return None
        mantissa, _, exponent = text.lower().partition("e")
        # Fraction would compute ten to the power of whatever stands there.
        if len(exponent) > 6 or abs(int(exponent or 0)) > MAXIMUM_EXPONENT:
            raise ArithmeticProblem("the result is too large: more than 4,200 digits")
        return checked(Fraction(f"{mantissa.rstrip('.')}e{exponent or 0}"))

    def named(self, name: str, start: int) -> Number:
        """A constant, or a function of what stands in brackets behind it."""
        constant = functions.CONSTANTS.get(name.lower())
        if constant is not None:
            return constant
        function = functions.FUNCTIONS.get(name.lower())
        if function is None:
            self.place = start
            raise self.problem(f"there is no “{name}”; known: {functions.known()}")
        if not self.take("("):
            raise self.problem(f"expected a bracket after {name}")
        return function(name, self.inside(commas_separate=function.most != 1))

    def inside(self, *, commas_separate: bool) -> list[Number]:
        """What stands up to the closing bracket: in `max(1,234)` two numbers, in `sqrt(1,234)` one."""
        outside, self.commas_separate = self.commas_separate, commas_separate
        values = [self.sum()]
        while commas_separate and self.take(",", ";"):
            values.append(self.sum())
        if not self.take(")"):
            raise self.problem("expected a closing bracket")
        self.commas_separate = outside
        return values

    def ahead(self) -> str:
        """What is not read yet, from the next character that is no blank."""
        while self.place < len(self.text) and self.text[self.place].isspace():
            self.place += 1
        return self.text[self.place :]

    def take(self, *signs: str) -> str:
        """Pass over one of the signs, if it is next."""
        ahead = self.ahead()
        for sign in signs:
            if ahead.startswith(sign):
                self.place += len(sign)
                return sign
        return ""

    def match(self, pattern: re.Pattern[str]) -> str:
        """Pass over what fits the pattern, if it is next."""
        found = pattern.match(self.ahead())
        self.place += found.end() if found else 0
        return found[0] if found else ""

    def word(self, word: str) -> bool:
        """Pass over a word, if it is next."""
        return bool(self.match(re.compile(rf"{word}\b", re.IGNORECASE)))

    def problem(self, message: str) -> ArithmeticProblem:
        """An error that says where it is."""
        ahead = self.ahead()
        where = f"at “{ahead[:20]}” (character {self.place + 1})" if ahead else "at the end"
        return ArithmeticProblem(f"{message} {where}")
