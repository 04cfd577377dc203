"""What a tool is: a name, what it takes, and a call that answers in text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["ok", "failed", "malformed", "denied"]


class CallFailed(Exception):
    """A call that came to nothing; the message is for the model, which may try again."""

    status: Status = "failed"


class MalformedCall(CallFailed):
    """A call of no tool there is, or with arguments that the tool does not take."""

    status = "malformed"


class CallDenied(CallFailed):
    """A call that the user did not allow."""

    status = "denied"


@dataclass(frozen=True)
class Tool:
    """Something a model may call.

    `parameters` is the JSON schema of its arguments, an object; `call` gets arguments that fit it, and
    raises `CallFailed` with a message for the model. `source` says where the tool comes from.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    call: Callable[[dict[str, Any]], Awaitable[str]]
    source: str = "built in"

    def as_openai(self) -> dict[str, Any]:
        """Its entry in the `tools` of a request."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class Result:
    """What a call came to: the text the model is given, and how it went."""

    text: str
    status: Status = "ok"


def clip(text: str, characters: int) -> str:
    """At most so many characters of a text, and a line that says how many are missing."""
    missing = len(text) - characters
    if missing <= 0:
        return text
    return f"{text[:characters]}\n[{missing:,} of {len(text):,} characters left out]"
