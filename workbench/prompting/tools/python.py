"""The Python tool: small programs of a model's, run in the sandbox."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from workbench.prompting.tools.sandbox import SandboxLimits, require_sandbox, run
from workbench.prompting.tools.tool import CallFailed, Tool

DESCRIPTION = (
    "Run a small Python program and get what it prints and the value of its last expression. It has math, "
    "re, json, datetime, random, itertools, collections and functools, but no files, no network, no classes "
    "of other packages and no generators. Every call starts from nothing."
)
PARAMETERS = {
    "type": "object",
    "properties": {"code": {"type": "string", "description": "The program"}},
    "required": ["code"],
    "additionalProperties": False,
}
PROCESSES = max(2, (os.cpu_count() or 2) // 2)


def python(limits: SandboxLimits | None = None) -> Tool:
    """The tool; raises `MissingExtraError` where there is no sandbox."""
    require_sandbox()
    allowed = limits or SandboxLimits()
    # More at once would only take turns, each against its own clock.
    places = asyncio.Semaphore(PROCESSES)

    async def call(arguments: dict[str, Any]) -> str:
        async with places:
            ran = await run(arguments["code"], allowed)
        if ran.error:
            raise CallFailed(ran.as_text())
        return ran.as_text()

    return Tool("python", DESCRIPTION, PARAMETERS, call)
