"""A judge's verdict: the form it is asked for in, and reading it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from workbench.inference.generation import Usage
from workbench.prompting.answers.json_values import find_json
from workbench.prompting.structured import problem, response_format_of


@dataclass(frozen=True)
class Verdict:
    """What a judge said of one answer. `score` is None where the verdict was malformed; `problem` says how.

    `text` is all that the judge wrote, `judge` the name it has at its server.
    """

    judge: str
    score: int | None
    reasons: str
    problem: str
    text: str
    usage: Usage = Usage()


def form(scale: tuple[int, int]) -> dict[str, Any]:
    """The protocol's `response_format` of a verdict: reasons first, so that the score follows from them."""
    low, high = scale
    schema = {
        "type": "object",
        "properties": {
            "reasons": {"type": "string"},
            # Not minimum and maximum, which some servers do not know.
            "score": {"type": "integer", "enum": list(range(low, high + 1))},
        },
        "required": ["reasons", "score"],
        "additionalProperties": False,
    }
    return response_format_of(schema, "verdict")


def read(judge: str, text: str, scale: tuple[int, int], *, cut_off: bool, usage: Usage) -> Verdict:
    """The verdict in what a judge wrote; servers that hold to no schema may have words around it."""
    try:
        value = find_json(text)
    except ValueError:
        how = "it was cut off before its end" if cut_off else "there is no JSON in it"
        return Verdict(judge, None, "", how, text, usage)
    unfit = problem(json.dumps(value), form(scale))
    if unfit:
        return Verdict(judge, None, "", unfit, text, usage)
    return Verdict(judge, int(value["score"]), value["reasons"].strip(), "", text, usage)
