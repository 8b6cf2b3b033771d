"""How long one answer takes."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

LATENCY_ROWS = 20
_WARM_UP = 3


def latency_p95_ms(
    forward: Callable[[int], object], rows: int, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """95th percentile of `forward(row)` in milliseconds, over up to 20 rows, after three calls to warm up."""
    for row in range(min(_WARM_UP, rows)):
        forward(row)
    seconds = []
    for row in range(min(LATENCY_ROWS, rows)):
        start = clock()
        forward(row)
        seconds.append(clock() - start)
    return float(np.percentile(seconds, 95) * 1_000)
