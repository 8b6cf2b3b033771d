"""The report's comparison for programs: `comparison.json` beside the model."""

from __future__ import annotations

import json
import math
from typing import Any

from autoglm_trainer.contract import Table

from .content import ReportContent

COMPARISON = "comparison.json"


def render_comparison(content: ReportContent) -> str:
    """Winner, default configuration and baseline with their metrics and 95 % intervals.

    Returns:
        JSON: `judgedOn` (test or validation), `rows`, `metric` (which they are compared by), `direction`, and
        `contenders`: each with `name`, `metrics`, `intervals` (metric → [low, high]), `parameters`, and
        `seconds`, `cpuSeconds` and `gpuSeconds` of training; all but the winner with `winnerAhead`: how much better
        the winner is `by` the metric, and its `interval`.
        `tables`: those of the report that say where the winner is wrong, each with `title`, `header` and `rows`.
        A value that is not a number is null.
    """
    metric = content.compared
    contenders = [
        {
            "name": contender.name,
            "metrics": {name: _finite(value) for name, value in contender.metrics.items()},
            "intervals": {name: [_finite(end) for end in content.confidence(place, name)] for name in content.shown},
            "parameters": dict(contender.parameters),
            "seconds": _rounded(contender.cost.seconds),
            "cpuSeconds": _rounded(contender.cost.cpu_seconds),
            "gpuSeconds": _rounded(contender.cost.gpu_seconds),
            **({"winnerAhead": _ahead(content, place)} if place else {}),
        }
        for place, contender in enumerate(content.contenders)
    ]
    told: dict[str, Any] = {
        "judgedOn": content.judged_on,
        "rows": content.judged,
        "metric": metric,
        "direction": "Maximize" if content.higher_is_better else "Minimize",
        "contenders": contenders,
        "tables": [
            {"title": section.title, "header": section.header, "rows": [list(map(_cell, row)) for row in section.rows]}
            for section in content.winner.predictions.sections()
            if isinstance(section, Table)
        ],
    }
    return json.dumps(told, ensure_ascii=False, indent=2)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _ahead(content: ReportContent, contender: int) -> dict[str, Any]:
    by, *interval = map(_finite, content.advantage(contender))
    return {"by": by, "interval": interval}


def _cell(value: str | float) -> str | float | None:
    return value if isinstance(value, str) else _finite(value)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
