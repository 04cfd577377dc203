"""What goes wrong, in the protocol's form."""

from __future__ import annotations

from typing import Any

from workbench.errors import WorkbenchError
from workbench.inference.engine.requests import QueueFull, RequestRefused
from workbench.inference.engine.soft_prompts import UnknownSoftPrompt


class NotFound(RequestRefused):
    """A model of that name is not here."""


class TooLarge(RequestRefused):
    """A request of too many bytes."""


def error_content(error: WorkbenchError) -> dict[str, Any]:
    """The body that tells a client of an error."""
    text = error.message + (f" ({error.hint})" if error.hint else "")
    kind = "invalid_request_error" if isinstance(error, RequestRefused) else "server_error"
    unknown = "model_not_found"
    codes = ((QueueFull, "queue_full"), (NotFound, unknown), (UnknownSoftPrompt, unknown))
    code = next((code for kind_of, code in codes if isinstance(error, kind_of)), None)
    return {"error": {"message": text, "type": kind, "param": error.where or None, "code": code}}


def status_of(error: WorkbenchError) -> int:
    """The status that goes with an error."""
    statuses: tuple[tuple[type[WorkbenchError], int], ...] = (
        (NotFound, 404),
        (UnknownSoftPrompt, 404),
        (TooLarge, 413),
        (RequestRefused, 400),
        (QueueFull, 503),
    )
    return next((status for kind, status in statuses if isinstance(error, kind)), 500)


def mistake_content(error: Exception) -> dict[str, Any]:
    """What a client may know of our own mistake; the log has the rest."""
    text = f"the server made a mistake: {type(error).__name__}"
    return {"error": {"message": text, "type": "server_error", "param": None, "code": None}}
