"""The calculator: what people write, exactly, and never for long."""

from __future__ import annotations

import contextlib
import random
import time
from fractions import Fraction

import pytest

from workbench.prompting.tools.arithmetic import ArithmeticProblem
from workbench.prompting.tools.calculator import calculate, calculator
from workbench.prompting.tools.expression import evaluate
from workbench.prompting.tools.tool import CallFailed


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1234 × 5678", "7006652"),
        ("1234 x 5678 =", "7006652"),
        ("12 ÷ 4 − 1", "2"),
        ("0.1 + 0.2", "0.3"),
        ("1/3 + 1/6", "0.5"),
        ("2/3", "0.666666666666667 (exactly 2/3)"),
        ("-7/3", "-2.33333333333333 (exactly -7/3)"),
        ("-1/8", "-0.125"),
        ("1,234,567.5 + 1", "1234568.5"),
        ("1_000 + 1'000", "2000"),
        ("max(1,234)", "234"),
        ("max((1,234), 5)", "1234"),
        ("sqrt(1,521)", "39"),
        ("-2^2", "-4"),
        ("2**-2", "0.25"),
        ("2^3^2", "512"),
        ("3² + 2⁻¹", "9.5"),
        ("100/8/2", "6.25"),
        ("7 // 2", "3"),
        ("-7 % 3", "2"),
        ("17 mod 5", "2"),
        ("15% of 80", "12"),
        ("200 * 50%", "100"),
        ("17 % 5", "2"),
        ("5! - 3!", "114"),
        ("3(4 + 5)", "27"),
        ("√16 + √(9)", "7"),
        ("2^0.5", "1.4142135623731"),
        ("(4/9)^(3/2)", "0.296296296296296 (exactly 8/27)"),
        ("√2 * √2", "2"),
        ("sin(π)", "0"),
        ("cos(60°)", "0.5"),
        ("log(8, 2)", "3"),
        ("log10(10^4000)", "4000"),
        ("ln(e)", "1"),
        ("2e3 + 2e", "2005.43656365692"),
        ("round(2.675, 2)", "2.68"),
        ("round(-2.5)", "-3"),
        ("floor(-2.5) + ceil(2.1)", "0"),
        ("gcd(12, 18) + lcm(4, 6)", "18"),
        ("mean(1, 2, 6)", "3"),
        ("comb(52, 5)", "2598960"),
        ("$5 * 3", "15"),
        ("1e-400 * 1e400", "1"),
        ("10^400 / 3", "3.33333333333333e+399"),
        ("0^0", "1"),
        ("1^999999999999", "1"),
    ],
)
def test_values(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("9**9**9", "too large"),
        ("9^9^9^9^9", "too large"),
        ("1e999999999", "too large"),
        ("(1/7)^99999", "too large"),
        ("exp(1000)", "too large"),
        ("100000!", "factorial"),
        ("comb(10^6, 10^5)", "at most"),
        ("1/0", "division by zero"),
        ("5 % 0 ", "division by zero"),
        ("0^-1", "division by zero"),
        ("sqrt(-1)", "not real"),
        ("(-8)^(1/3)", "not real"),
        ("log(0)", "no value"),
        ("acos(2)", "no value"),
        ("3,14 + 1", "expected an operator at “,14 + 1” (character 2)"),
        ("2 3", "expected an operator"),
        ("3 +", "expected a number at the end"),
        ("", "expected a number"),
        ("(1", "closing bracket"),
        ("sine(1)", "there is no “sine”"),
        ("round(1, 2, 3)", "takes 1 or 2 numbers"),
        ("gcd(1.5, 2)", "not a whole number"),
        ("__import__('os')", "expected a number"),
        ("open", "there is no “open”"),
        ("(" * 400 + "1" + ")" * 400, "nested too deeply"),
        ("-" * 999 + "1", "nested too deeply"),
        ("√" * 999 + "1", "nested too deeply"),
        ("1+" * 600 + "1", "characters"),
    ],
)
def test_what_has_no_value_says_why(expression: str, reason: str) -> None:
    with pytest.raises(ArithmeticProblem) as caught:
        calculate(expression)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "+".join(["9^4400"] * 140),
        "*".join(["7^4000"] * 140),
        "!+".join(["1000"] * 160) + "!",
        "+".join(["comb(2000,999)"] * 66),
        "+".join(f"1/3^{power}" for power in range(8000, 8110)),
    ],
)
def test_no_expression_takes_long(expression: str) -> None:
    began = time.process_time()
    with contextlib.suppress(ArithmeticProblem):
        calculate(expression)
    assert time.process_time() - began < 0.2


def test_exact_arithmetic_agrees_with_fractions_on_random_expressions() -> None:
    random_state = random.Random(7)

    def grow(depth: int) -> tuple[str, Fraction]:
        if depth == 0:
            value = Fraction(random_state.randrange(1, 500), random_state.choice((1, 10, 100)))
            return f"{float(value)}", value
        (left, a), (right, b) = grow(depth - 1), grow(depth - 1)
        operator = random_state.choice("+-*/")
        if operator == "/" and b == 0:
            operator = "+"
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else a}[operator]
        return f"({left} {operator} {right})", value

    for _ in range(200):
        text, value = grow(random_state.randrange(1, 5))
        assert evaluate(text) == value, text


def test_whatever_is_written_has_a_value_or_a_reason() -> None:
    random_state = random.Random(3)
    pieces = [*"0123456789.,_+-*/%^!()°√π²xe' $=", "**", "//", " of ", "mod", "1e400", "10^4000", "0.5"]
    pieces += ["sqrt(", "log(", "max(", "round(", "sin(", "comb(", "gcd(", "999", "tan(", "floor(", "mean("]
    values = 0
    for _ in range(5_000):
        text = "".join(random_state.choices(pieces, k=random_state.randrange(1, 12)))
        try:
            values += bool(calculate(text + ")" * text.count("(")))
        except ArithmeticProblem as problem:
            assert str(problem)
    assert values > 300


async def test_the_tool_tells_the_model_what_is_wrong() -> None:
    tool = calculator()
    assert await tool.call({"expression": "6 * 7"}) == "42"
    with pytest.raises(CallFailed, match="division by zero"):
        await tool.call({"expression": "1/0"})
