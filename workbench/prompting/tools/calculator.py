"""The calculator: exact arithmetic in the way people write it."""

from __future__ import annotations

from typing import Any

from workbench.prompting.tools.arithmetic import ArithmeticProblem, written
from workbench.prompting.tools.expression import evaluate
from workbench.prompting.tools.tool import CallFailed, Tool

DESCRIPTION = (
    "Evaluate an arithmetic expression exactly. Knows + - * / // % ^ ! and brackets, percentages, "
    "sqrt, log (natural, or to a base: log(8, 2)), exp, sin, cos, tan (in radians, or 30°), round, floor, "
    "ceil, abs, min, max, sum, mean, gcd, lcm, comb, perm, pi and e."
)
PARAMETERS = {
    "type": "object",
    "properties": {
        "expression": {
            "type": "string",
            "description": "The expression, for example (12.5 + 7) * 4 / 3",
            # A server that constrains its model holds it to this, and small models need it: without, one of
            # 135 M parameters writes brackets and prose into the call.
            "pattern": r"^[0-9a-z(√π−-][0-9a-z()+*/%^!.,°×÷·√π− -]*$",
            "maxLength": 200,
        }
    },
    "required": ["expression"],
    "additionalProperties": False,
}


def calculate(expression: str) -> str:
    """The value of an expression as text; raises `ArithmeticProblem`."""
    return written(evaluate(expression))


async def _call(arguments: dict[str, Any]) -> str:
    try:
        return calculate(arguments["expression"])
    except ArithmeticProblem as problem:
        raise CallFailed(str(problem)) from None


def calculator() -> Tool:
    """The tool."""
    return Tool("calculator", DESCRIPTION, PARAMETERS, _call)
