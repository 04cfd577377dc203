"""What goes wrong with a server, as one clear error. No torch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from workbench.errors import ServerError
from workbench.inference.servers import FILE, Server


class FieldRefused(Exception):
    """The server refused a field that can be left out."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class explained:
    """Turns what goes wrong with a server into one clear `ServerError`."""

    def __init__(self, server: Server, optional: Sequence[str] = ()) -> None:
        self.server = server
        self.optional = optional

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ServerError | asyncio.CancelledError):
            return
        import httpx2
        import openai

        where = self.server.where
        if isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
            text = message_in(error.body, error.status_code)
            for field in self.optional:
                if field in text:
                    raise FieldRefused(field) from None
            raise ServerError(text, where=where) from None
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            hint = f"set its key in {FILE}, or with --key"
            raise ServerError("the server does not accept the key", where=where, hint=hint) from None
        if isinstance(error, openai.APITimeoutError):
            raise ServerError("the server did not answer in time", where=where) from None
        if isinstance(error, openai.APIConnectionError | httpx2.TransportError):
            hint = "is it running? workbench serve MODEL starts one"
            raise ServerError(
                f"the server cannot be reached, or broke off: {_cause(error)}", where=where, hint=hint
            ) from None
        if isinstance(error, openai.APIStatusError):
            raise ServerError(message_in(error.body, error.status_code), where=where) from None
        if isinstance(error, openai.APIError):
            raise ServerError(message_in(error.body, 0) or error.message, where=where) from None
        if isinstance(error, ValueError | KeyError | TypeError | AttributeError):
            what = f"the server's answer is not of the protocol: {type(error).__name__}: {error}"
            raise ServerError(what, where=where) from None


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def message_in(body: object, status: int) -> str:
    """The server's own words, in whichever of the usual places they are."""
    if isinstance(body, dict):
        inner = body.get("error", body)
        for place in (inner, body):
            if isinstance(place, dict) and isinstance(
                found := place.get("message", place.get("detail")), str
            ):
                return found
        if isinstance(inner, str):
            return inner
    return f"the server answered with status {status}" if status else "the server broke off"
