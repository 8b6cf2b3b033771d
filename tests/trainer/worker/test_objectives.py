"""Several objectives, and points of which a task makes something."""

# ruff: noqa: ARG002 - the contract names its arguments
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from optuna.trial import TrialState

from autoglm_api.attempts import TrialAttribute
from autoglm_api.exits import ExitCode
from autoglm_store.attempts import create_retry
from autoglm_store.front import front
from autoglm_store.ledger import best, counts, retries_due
from autoglm_store.limits import read_run
from autoglm_trainer.contract import TrialControl
from autoglm_trainer.errors import Infeasible

from .processes import make_worker, points, work
from .tasks import FakeTask, Point, at_x

TWO = [{"metric": "accuracy", "direction": "Maximize"}, {"metric": "loss", "direction": "Minimize"}]


def bent(point: Point, control: TrialControl) -> dict[str, float]:
    """What is won in accuracy is paid for in loss, and below 0.2 in both."""
    x = float(point["x"])
    for step in (1, 2):
        control.report(step, x * step / 2)
    return {"accuracy": x, "loss": x if x >= 0.2 else 1.0}


def test_a_worker_trains_for_several_objectives(url: str, tmp_path: Path) -> None:
    xs = (0.5, 0.9, 0.1, 0.5, 0.3)
    code, study, limits = work(
        url, tmp_path, FakeTask(bent), objectives=TWO, enqueue=points(*xs), trials={"max": 5}, pruner={"type": "None"}
    )
    trials, run = study.get_trials(), read_run(study)
    assert code == ExitCode.NOTHING_LEFT
    assert [trial.values for trial in trials] == [[x, x if x >= 0.2 else 1.0] for x in xs]
    assert [trial.number for trial in front(trials, run)] == [1, 0, 4]
    assert trials[3].user_attrs[TrialAttribute.DUPLICATE_OF] == 0
    assert trials[1].intermediate_values == {1: 0.45, 2: 0.9}
    assert counts(trials, limits).complete == 5
    kept = sorted(folder.name for folder in (tmp_path / "artifacts/trials").iterdir())
    assert kept == ["0", "1", "4"]


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_no_number_in_any_objective_fails_the_trial_with_a_reason(journal: str, tmp_path: Path, metric: str) -> None:
    task = FakeTask(lambda *_: {"accuracy": 0.1, "loss": 0.2, metric: math.inf})
    _, study, _ = work(journal, tmp_path, task, objectives=TWO, trials={"max": 1})
    trial = study.get_trials()[0]
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[TrialAttribute.MESSAGE] == f"the metric {metric} is inf at this point"


def test_retries_and_points_that_cannot_be_trained_do_not_mind_several_objectives(url: str, tmp_path: Path) -> None:
    def troubled(point: Point, control: TrialControl) -> dict[str, float]:
        control.report(1, 0.5)
        if point["x"] == 0.5:
            raise Infeasible("too large")
        if point["x"] == 0.7 and control.resume_from is None and not (tmp_path / "failed").exists():
            (tmp_path / "failed").touch()
            raise ZeroDivisionError
        return bent(point, control) if point["x"] != 0.7 else {"accuracy": 0.7, "loss": 0.1}

    _, study, limits = work(
        url, tmp_path, FakeTask(troubled), objectives=TWO, enqueue=points(0.5, 0.7), trials={"max": 2, "retries": 1}
    )
    for trial in retries_due(study.get_trials(), limits):
        create_retry(study, trial)
    make_worker(url, read_run(study), FakeTask(troubled), tmp_path, identity="2@0").work()
    tally = counts(study.get_trials(), limits)
    assert (tally.infeasible, tally.complete, tally.retried) == (1, 1, 1)
    leader = best(study.get_trials(), read_run(study))
    assert leader is not None
    assert leader.values == [0.7, 0.1]
    assert study.get_trials()[0].values is None


@dataclass
class Deriving(FakeTask):
    """What it makes of a point tells what it was shown."""

    shown: list[tuple[list[Point], int]] = field(default_factory=list)

    def derive(
        self, parameters: Point, *, best: Sequence[Point], tried: Sequence[Point], seed: int
    ) -> dict[str, float | str]:
        self.shown.append((list(best), len(tried)))
        return {"name": f"child {len(self.shown)}", "seed": seed}


def test_what_a_task_makes_of_a_point_is_trained_noted_and_shown_to_later_trials(journal: str, tmp_path: Path) -> None:
    task = Deriving()
    _, study, _ = work(journal, tmp_path, task, enqueue=points(0.2, 0.8, 0.5))
    noted = [trial.user_attrs[TrialAttribute.DERIVED]["name"] for trial in study.get_trials()]
    assert noted == ["child 1", "child 2", "child 3"]
    assert [point["name"] for point in task.fitted] == noted
    assert [(len(best), tried) for best, tried in task.shown] == [(0, 2), (1, 2), (2, 2)]
    assert [point["x"] for point in task.shown[2][0]] == [0.8, 0.2]
    assert task.shown[2][0][0]["name"] == "child 2"


def test_another_attempt_gets_what_was_made_of_the_point_before(journal: str, tmp_path: Path) -> None:
    def first_fails(point: Point, control: TrialControl) -> dict[str, float]:
        if len(task.fitted) == 1:
            raise RuntimeError("broken")
        return at_x(point, control)

    task = Deriving(behave=first_fails)
    _, study, limits = work(journal, tmp_path, task, enqueue=points(0.2), trials={"max": 1})
    (due,) = retries_due(study.get_trials(), limits)
    create_retry(study, due)
    make_worker(journal, read_run(study), task, tmp_path).work()
    assert len(task.shown) == 1
    assert task.fitted[0] == task.fitted[1]
