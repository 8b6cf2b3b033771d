"""Waiting on a condition, with a limit and a word on what did not happen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], what: str = "the condition", seconds: float = 60.0) -> None:
    """Returns as soon as `condition` holds; `AssertionError` when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {seconds:g} s"
        time.sleep(0.02)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """The same inside an event loop."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition, not one that somebody signals
            await asyncio.sleep(0.005)
