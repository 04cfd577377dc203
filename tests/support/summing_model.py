"""A model that adds two numbers, or gets them wrong where a test wants it to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from scripted_model import ScriptedModel, last_text

from workbench.inference.generation import Request

SUM = re.compile(r"(\d+) \+ (\d+)")


def sum_in(text: str, wrong: Callable[[int], bool]) -> str:
    """The answer to a sum in a text, wrong where its first number says so."""
    found = SUM.search(text)
    if found is None:
        return "I do not know."
    first, second = map(int, found.groups())
    return f"Let me see. The answer is {first + second + wrong(first)}."


def summing(wrong: Callable[[int], bool], **options: Any) -> ScriptedModel:
    """A model that adds, but for the sums that are said to go wrong."""

    def script(request: Request, index: int) -> str:
        whole = "\n".join(str(message["content"]) for message in request.messages)
        return sum_in(whole if SUM.search(last_text(request)) is None else last_text(request), wrong)

    return ScriptedModel(script, **options)
