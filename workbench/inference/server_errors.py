"""What goes wrong with a server, as one clear error. No torch."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from workbench.errors import ServerError
from workbench.inference.servers import FILE, Server

LONGEST = 500
"""Characters of a server's words that are passed on."""


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
            if field := _unknown_field(f"{text} {error.param or ''}", self.optional):
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
        if isinstance(error, openai.NotFoundError):
            text = message_in(error.body, error.status_code)
            # Where nothing at all is found, and not just no such model.
            hint = "" if error.code or where.endswith("/v1") else "the URL of most servers ends in /v1"
            raise ServerError(text, where=where, hint=hint) from None
        if isinstance(error, openai.APIStatusError):
            raise ServerError(message_in(error.body, error.status_code), where=where) from None
        if isinstance(error, openai.APIError):
            raise ServerError(message_in(error.body, 0) or error.message, where=where) from None
        if isinstance(error, ValueError | LookupError | TypeError | AttributeError):
            what = f"the server's answer is not of the protocol: {type(error).__name__}: {error}"
            raise ServerError(what, where=where) from None


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def message_in(body: object, status: int) -> str:
    """The server's own words, in whichever of the usual places they are; a page of HTML is none."""
    words = _words(body).strip()
    if words and not words.startswith("<"):
        return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"
    return f"the server answered with status {status}" if status else "the server broke off"


def _words(body: object) -> str:
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(words for entry in body if (words := _words(entry)))
    if isinstance(body, dict):
        for key in ("error", "message", "detail", "msg"):
            if words := _words(body.get(key)):
                place = body.get("loc")
                field = ".".join(str(part) for part in place) if isinstance(place, list) else ""
                return f"{field}: {words}" if field else words
    return ""


def _unknown_field(text: str, fields: Sequence[str]) -> str | None:
    """Which of the fields a refusal is about, if it says that the server does not know it."""
    if not _UNKNOWN.search(text):
        return None
    for field in fields:
        pattern = r"\bn\b|completion choice" if field == "n" else rf"(?<![^\W_]){field}(?![^\W_])"
        if re.search(pattern, text):
            return field
    return None


_UNKNOWN = re.compile(
    r"unknown|unrecogni[sz]ed|unsupported|not support|unexpected|extra|not permitted|allowed|cannot find"
    r"|not available|invalid field|not implemented",
    re.IGNORECASE,
)
"""How servers say that they do not know a field, rather than that its value is wrong."""
