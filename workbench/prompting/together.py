"""Running several coroutines at once so that none outlives the others' failure or a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

R = TypeVar("R")


async def together(coroutines: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """All results in order. The first error, or being cancelled, ends all of them before it goes on."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await stop(*tasks)


async def stop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they are gone; what they raise is of no interest any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
