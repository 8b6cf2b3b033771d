"""A real worker whose training costs nothing: all that is left of a trial is its fixed cost.

`python -m benchmarks.free_worker work`, with a worker's environment. The task loads the real model and the real rows;
only `fit` and `evaluate` are replaced: three reports, and a value that depends on the point.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoglm_api.base import Scalar
from autoglm_api.catalog import TASKS as DECLARED
from autoglm_api.run import Run

BEGINNINGS = "AUTOGLM_BENCH_BEGINNINGS"
REPORTS = 3


@dataclass(frozen=True)
class FreeTask:
    """The real task's `load`, around which nothing is trained."""

    real: Any
    name: str = "text-classification"

    def load(self, run: Run, places: Any) -> FreeLoadedTask:
        """Load model and rows as the real task does."""
        return FreeLoadedTask(self.real.load(run, places), tuple(DECLARED[self.name].metrics))


@dataclass(frozen=True)
class FreeLoadedTask:
    """Notes the time and the process's CPU time when each `fit` begins; two beginnings are one trial apart."""

    real: Any
    metrics: tuple[str, ...]

    def fit(self, parameters: Mapping[str, Scalar], control: Any) -> FreeModel:
        """Report three values."""
        with Path(os.environ[BEGINNINGS]).open("a") as file:
            file.write(f"{time.time()!r} {time.process_time()!r}\n")
        value = value_at(parameters)
        for step in range(1, REPORTS + 1):
            control.heartbeat()
            control.report(step, value * step / REPORTS)
        return FreeModel({**dict.fromkeys(self.metrics, value)}, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@dataclass(frozen=True)
class FreeModel:
    """A model of one small file."""

    measured: Mapping[str, float]
    parameters: Mapping[str, Scalar]

    def evaluate(self, split: str) -> Mapping[str, float]:
        """All metrics alike."""
        assert split == "validation", "only the export looks at test rows"
        return self.measured

    def save(self, folder: Path) -> None:
        """Write one file."""
        (folder / "settings.json").write_text(json.dumps(dict(self.parameters)))


def value_at(parameters: Mapping[str, Scalar]) -> float:
    """Something smooth between 0 and 1, so that samplers have something to model and the best changes at times."""
    rate = float(parameters.get("learning_rate", 1e-3))
    return 1.0 / (1.0 + abs(rate - 2e-3) * 100) * (0.9 if parameters.get("method") == "head" else 1.0)


def main() -> None:
    """Become the worker, with the free task in place of the real one."""
    from autoglm_trainer import main as trainer
    from autoglm_trainer.tasks import text_classification

    real = text_classification.TextClassification()
    text_classification.TextClassification = lambda: FreeTask(real)  # type: ignore[assignment, misc]
    run: Callable[[], None] = trainer.main
    run()


if __name__ == "__main__":
    main()
