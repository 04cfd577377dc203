"""Work that blocks, away from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def to_the_end(function: Callable[..., Result], *arguments: Any) -> Result:
    """Run what blocks in a thread; when cancelled, be cancelled only after it has ended.

    So nothing writes to a collection any more once its lock is given up.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            # Looked at, so that an error of a work that nobody waits for is not reported as overlooked.
            work.exception()
        raise
