"""The requests by name. A module is imported when it is first asked for: some need torch, most do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from workbench.errors import UsageError

Progress = Callable[[str, int, int | None], None]

PLACES = {
    "sources": "workbench.inspection.sources",
    "records": "workbench.inspection.records",
    "search": "workbench.inspection.records",
    "tokens": "workbench.inspection.tokens",
    "vocabulary": "workbench.inspection.tokens",
    "train_tokenizer": "workbench.inspection.train_tokenizer",
    "batch": "workbench.inspection.batch",
    "model": "workbench.inspection.model",
    "soft_prompt": "workbench.inspection.soft_prompt",
    "held_out": "workbench.inspection.held_out",
}
"""Where the function of each request is; it has the request's name."""


def answer(do: str, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The result of a request. Raises `WorkbenchError`."""
    if do not in PLACES:
        raise UsageError(f"there is no request “{do}”", hint=f"one of: {', '.join(PLACES)}")
    function = getattr(import_module(PLACES[do]), do)
    result: dict[str, Any] = function(progress=progress, **arguments)
    return result
