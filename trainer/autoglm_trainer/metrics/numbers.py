"""The metrics of numbers."""

from __future__ import annotations

import numpy as np

from .arrays import Floats


def measure(answers: Floats, truth: Floats) -> dict[str, float]:
    """Root of the mean squared error, mean absolute error, and R²: 1 is perfect, 0 is the mean's own.

    Args:
        answers: (rows,); a NaN anywhere makes every metric NaN.
        truth: (rows,). If all are alike, R² is NaN.
    """
    errors = answers - truth
    squared = float(np.mean(errors**2))
    spread = float(np.var(truth))
    return {
        "rmse": float(np.sqrt(squared)),
        "mae": float(np.mean(np.abs(errors))),
        "r2": 1 - squared / spread if spread > 0 else float("nan"),
    }
