"""Waiting on a condition inside an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], timeout_seconds: float = 5.0) -> None:
    """Return as soon as `condition` holds; `TimeoutError` when it never does."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():  # noqa: ASYNC110 - any condition, not one that somebody signals
            await asyncio.sleep(0.005)
