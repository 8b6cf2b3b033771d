"""The winner trained once more, on training and validation rows together."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, create_trial
from tests.trainer.task.making import Control, colour_rows, make_places, make_run, write_rows

from autoglm_api.attempts import Limits
from autoglm_api.locations import Location
from autoglm_api.manifest import Manifest
from autoglm_api.run import Run
from autoglm_store.limits import write_limits
from autoglm_store.sampling import suggest
from autoglm_trainer.contenders import contenders
from autoglm_trainer.errors import Infeasible
from autoglm_trainer.export import export_run
from autoglm_trainer.refit import best_report, make_model
from autoglm_trainer.tasks import get_task
from autoglm_trainer.tuning.task import LoadedTuned
from autoglm_trainer.work.artifacts import Artifacts

LORA = {"method": "lora", "epochs": 2, "learning_rate": 1e-2, "batch_size": 8, "lora_r": 4}
HEAD = [{"name": "method", "categorical": {"choices": ["head"]}}]


def loaded(model: Path, folder: Path, train: str, validation: str, **changes: Any) -> tuple[Run, LoadedTuned]:
    test = write_rows(folder / "test.jsonl", colour_rows(30, start=100))
    data = {"validation": {"source": validation}, "test": {"source": test}}
    run = make_run(f"file://{model}", train, artifacts=f"file://{folder}/store", data=data, **changes)
    task = get_task(run.task).load(run, make_places(folder))
    assert isinstance(task, LoadedTuned)
    return run, task


@pytest.mark.parametrize("point", [LORA, {"method": "head", "head_c": 1.0}], ids=lambda point: point["method"])
def test_it_is_the_model_of_a_study_whose_training_rows_are_both(
    model_folder: Callable[[str], Path], tmp_path: Path, point: dict[str, Any]
) -> None:
    rows, model = colour_rows(60), model_folder("bert")
    some, others = (
        write_rows(tmp_path / name, part) for name, part in (("a.jsonl", rows[:40]), ("b.jsonl", rows[40:]))
    )
    both = write_rows(tmp_path / "both.jsonl", rows)
    _, split = loaded(model, tmp_path, some, others)
    _, whole = loaded(model, tmp_path, both, others)
    control = Control()
    again = split.refit(point, control, reports=None).predict("test")
    assert np.array_equal(again.probabilities, whole.fit(point, Control()).predict("test").probabilities)
    assert all(math.isnan(value) for _, value in control.reports), "nothing is measured on rows that are learned from"


def test_it_ends_where_the_winner_was_best_though_its_point_has_patience(
    load: Callable[[str], LoadedTuned],
) -> None:
    control = Control()
    load("bert").refit({**LORA, "epochs": 6, "patience": 2}, control, reports=3)
    assert [step for step, _ in control.reports] == [1, 2, 3]


@pytest.mark.parametrize(("patience", "expected"), [(2, 3), (0, None)])
def test_the_best_report_counts_where_there_was_patience(
    model_folder: Callable[[str], Path], patience: int, expected: int | None
) -> None:
    run = make_run(f"file://{model_folder('bert')}", "file:///rows.jsonl")
    trial = finished({"method": "lora", "patience": patience}, {1: 0.2, 2: 0.5, 3: 0.8, 4: 0.8, 5: 0.7})
    assert best_report(run, trial) == expected


def finished(point: dict[str, Any], reported: dict[int, float]) -> FrozenTrial:
    distributions = {name: CategoricalDistribution([value]) for name, value in point.items()}
    trial = create_trial(value=0.8, params=point, distributions=distributions, intermediate_values=reported)
    trial.number = 0
    return trial


def searched(model: Path, folder: Path) -> tuple[optuna.Study, Run, LoadedTuned]:
    """A study that asks for it, after its one trial: of twelve training rows, with 48 to choose by."""
    rows = colour_rows(60)
    some, others = (write_rows(folder / name, part) for name, part in (("a.jsonl", rows[:12]), ("b.jsonl", rows[12:])))
    run, task = loaded(model, folder, some, others, parameters=HEAD, export={"trainOn": "TrainAndValidation"})
    study = optuna.create_study(direction="maximize")
    write_limits(study, Limits(max=1, max_failed=1, retries=0))
    trial = study.ask()
    study.tell(trial, task.fit(suggest(trial, run.parameters), Control()).evaluate("validation")["accuracy"])
    return study, run, task


def test_the_exported_model_has_learned_from_both_and_stands_beside_the_judged_one(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    study, run, _ = searched(model_folder("bert"), tmp_path)
    store = tmp_path / "store"
    artifacts = Artifacts(f"file://{store}", Location("file", str(store)))
    assert export_run(study, run, make_places(tmp_path), artifacts).trained_on == ("train", "validation")
    manifest = Manifest.model_validate_json((store / "export" / "manifest.json").read_bytes())
    told = json.loads((store / "export" / "comparison.json").read_text())
    assert manifest.trained_on == ("train", "validation")
    assert [each["name"] for each in told["contenders"]][:2] == ["winner", "winner of the training rows alone"]
    both, alone = (each["metrics"]["accuracy"] for each in told["contenders"][:2])
    assert both > alone, "five times the rows teach more"
    assert manifest.test is not None
    assert manifest.test["accuracy"] == both
    assert "and the 48 validation rows" in (store / "export" / "README.md").read_text()


def too_large(*_: Any, **__: Any) -> Any:
    raise Infeasible("the GPU's memory is too small")


def diverged(task: LoadedTuned, parameters: dict[str, Any], control: Any, *, reports: int | None) -> Any:
    fitted = task.fit(parameters, control)
    fitted.weights = {name: weights * math.nan for name, weights in fitted.weights.items()}
    task.current = None
    return fitted


@pytest.mark.parametrize(
    ("refit", "why"), [(too_large, "the GPU's memory is too small."), (diverged, "there its accuracy is not a number.")]
)
def test_a_model_that_cannot_be_trained_once_more_is_exported_as_it_was_judged(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refit: Any, why: str
) -> None:
    study, run, task = searched(model_folder("bert"), tmp_path)
    monkeypatch.setattr(LoadedTuned, "refit", refit)
    winner = study.best_trial
    judged = task.fit(winner.params, Control())
    made = make_model(task, run, winner, lambda _: judged, gpus=0)
    assert made.model is judged
    assert made.alone is None
    _, missing = contenders(task, run, winner, made, "test", (), task.fit, gpus=0)
    assert missing[0] == f"The winner could not be trained once more with the validation rows: {why}"
