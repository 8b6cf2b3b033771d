"""The bootstrap over rows: intervals of one model's metrics, and of the difference between two."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .arrays import Floats, Ints

RESAMPLES = 2_000


def bootstrap(
    measures: Sequence[Callable[[Ints], dict[str, float]]], rows: int, *, seed: int, resamples: int = RESAMPLES
) -> list[dict[str, Floats]]:
    """The metrics of several models over the same random rows, so that their differences can be judged too.

    Args:
        measures: for each model, row indices → metrics.
        rows: how many rows the models have answered.
        seed: chooses the rows.
        resamples: how often `rows` rows are drawn with replacement.

    Returns:
        for each model, metric → (resamples,).
    """
    draw = np.random.default_rng(seed)
    drawn = [draw.integers(0, rows, rows) for _ in range(resamples)]
    return [_columns([measure(some) for some in drawn]) for measure in measures]


def _columns(measured: Sequence[dict[str, float]]) -> dict[str, Floats]:
    return {name: np.array([one[name] for one in measured]) for name in measured[0]}


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95 % of bootstrap values; a few that cannot be told (a class that was not drawn) are left out."""
    known = values[~np.isnan(values)]
    if 2 * len(known) < len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
