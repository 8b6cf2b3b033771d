# ruff: noqa: ARG002 - the contract names its arguments
"""A task without model and data: small, quick, and as ill-behaved as a test wants it. Meets `contract.LoadedTask`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

from autoglm_api.base import Scalar
from autoglm_api.manifest import DataDigests
from autoglm_trainer.contract import ExportDescription, Predictions, SplitName, TrialControl

Point = Mapping[str, Scalar]


@dataclass
class Curve:
    """What `fit` gives: the metrics of one point."""

    metrics: dict[str, float]
    sizes: ClassVar[dict[str, int]] = {"trained": 3, "total": 7}

    def evaluate(self, split: SplitName) -> Mapping[str, float]:
        return self.metrics

    def save(self, folder: Path) -> None:
        (folder / "curve.json").write_text(json.dumps(self.metrics))

    def export(self, folder: Path) -> ExportDescription:
        raise NotImplementedError

    def predict(self, split: SplitName) -> Predictions:
        raise NotImplementedError


def at_x(point: Point, control: TrialControl) -> dict[str, float]:
    """The plainest behaviour: every trial is worth its x."""
    return {"accuracy": float(point["x"]), "loss": 1.0 - float(point["x"])}


@dataclass
class FakeTask:
    """`behave` is the training; it gives the metrics or raises."""

    behave: Callable[[Point, TrialControl], dict[str, float]] = at_x
    digests: DataDigests = field(default_factory=lambda: DataDigests(train="t", validation="v"))
    has_test: bool = False
    fitted: list[Point] = field(default_factory=list)

    def fit(self, parameters: Point, control: TrialControl) -> Curve:
        self.fitted.append(dict(parameters))
        return Curve(self.behave(parameters, control))

    def restore(self, parameters: Point, folder: Path) -> Curve:
        return Curve(json.loads((folder / "curve.json").read_text()))

    def baseline(self, split: SplitName) -> Predictions:
        raise NotImplementedError


@dataclass(frozen=True)
class Steps:
    """Training in steps whose result depends on every one of them, so a wrong resume shows.

    Attributes:
        count: steps. seconds: how long one takes. marks: a file that gets a line for each step.
    """

    count: int
    seconds: float = 0.0
    marks: Path | None = None

    def __call__(self, point: Point, control: TrialControl) -> dict[str, float]:
        state, first = float(control.seed % 997), 1
        if control.resume_from is not None:
            saved = json.loads((control.resume_from / "state.json").read_text())
            state, first = saved["state"], saved["step"] + 1
        for step in range(first, self.count + 1):
            if self.marks is not None:
                with self.marks.open("a") as file:
                    file.write(f"{step}\n")
            time.sleep(self.seconds)
            state = math.sin(state) * 1000 + step
            control.heartbeat()
            control.report(step, state)
            control.checkpoint(step, partial(_write, {"state": state, "step": step}))
        return {"accuracy": state, "loss": 0.0}


def _write(state: dict[str, float], folder: Path) -> None:
    (folder / "state.json").write_text(json.dumps(state))
