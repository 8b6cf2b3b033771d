"""A real task searched for three objectives: trained by a worker, exported, reported, made again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import optuna
import pytest
from tests.store.studies import make_study
from tests.trainer.task.making import colour_rows, make_places, make_run, write_rows
from tests.trainer.worker.processes import make_worker

from autoglm_api.attempts import Export, Limits, TrialAttribute
from autoglm_api.locations import Location
from autoglm_api.manifest import Manifest
from autoglm_api.run import Run
from autoglm_store.front import front
from autoglm_trainer.export import export_run
from autoglm_trainer.reproduction import reproduce
from autoglm_trainer.tasks import get_task
from autoglm_trainer.tuning.task import LoadedTuned
from autoglm_trainer.work.artifacts import Artifacts

OBJECTIVES = [
    {"metric": "accuracy", "direction": "Maximize"},
    {"metric": "latency_p95_ms", "direction": "Minimize"},
    {"metric": "loss", "direction": "Minimize"},
]
SHORT = {"method": "lora", "epochs": 1, "learning_rate": 2e-3, "batch_size": 16}


class Searched(NamedTuple):
    """`completed`: what the task's `on_complete`, which fails, was given, and whether the model was there."""

    folder: Path
    run: Run
    study: optuna.Study
    export: Export
    completed: list[tuple[Export, bool]]


@pytest.fixture(scope="module")
def searched(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("several")
    run = make_run(
        f"file://{model_folder('bert')}",
        write_rows(folder / "train.jsonl", colour_rows(60)),
        artifacts=f"file://{folder}/artifacts",
        data={"test": {"source": write_rows(folder / "test.jsonl", colour_rows(30, start=100))}},
        enqueue=[{"method": "head", "head_c": 1e-3}, {"method": "head", "head_c": 1.0}, SHORT],
        objectives=OBJECTIVES,
        trials={"max": 3},
    )
    study = make_study(f"journal://{folder}/journal.log", run, Limits(max=3, max_failed=0, retries=0))
    loaded = get_task(run.task).load(run, make_places(folder))
    make_worker(f"journal://{folder}/journal.log", run, loaded, folder).work()
    artifacts = Artifacts("artifacts", Location("file", f"{folder}/artifacts"))
    completed: list[tuple[Export, bool]] = []

    def on_complete(_: object, export: Export) -> None:
        completed.append((export, (folder / "artifacts/export/manifest.json").is_file()))
        raise ZeroDivisionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoadedTuned, "on_complete", on_complete, raising=False)
        export = export_run(study, run, make_places(folder), artifacts, gpus=2)
    return Searched(folder, run, study, export, completed)


def test_every_trial_has_a_value_of_each_objective_and_reports_of_the_first(searched: Searched) -> None:
    trials = searched.study.get_trials()
    metrics = [objective["metric"] for objective in OBJECTIVES]
    for trial in trials:
        assert trial.values == [trial.user_attrs[TrialAttribute.METRICS][metric] for metric in metrics]
        assert trial.values[1] > 0
    assert trials[2].intermediate_values, "what a trial reports is kept, although nothing is pruned"


def test_the_first_of_the_front_is_exported_under_the_first_objective(searched: Searched) -> None:
    folder = searched.folder / "artifacts/export"
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    members = front(searched.study.get_trials(), searched.run)
    assert searched.export.trial == manifest.provenance.trial == members[0].number
    assert (manifest.metric, manifest.direction) == ("accuracy", "Maximize")
    assert [manifest.validation[each["metric"]] for each in OBJECTIVES] == members[0].values


def test_the_report_draws_and_lists_the_front(searched: Searched) -> None:
    page = (searched.folder / "artifacts/export/report.html").read_text()
    assert "What nothing beats" in page
    for pair in ("accuracy and latency_p95_ms", "accuracy and loss", "latency_p95_ms and loss"):
        assert f'aria-label="Pareto front of {pair}"' in page
    listed = page.split("What nothing beats")[1].split("How the search went")[0]
    members = front(searched.study.get_trials(), searched.run)
    rows = re.findall(r"<tr[^>]*><td class=\"n\">(\d+)</td>", listed)
    assert rows == [str(member.number) for member in members]
    assert all(f'<td class="n">{value:.4g}</td>' in listed for member in members for value in member.values)
    assert "by accuracy:" in page


def test_every_contender_is_compared_by_all_objectives_and_tells_what_it_took(searched: Searched) -> None:
    told = json.loads((searched.folder / "artifacts/export/comparison.json").read_text())
    winner, default, baseline = told["contenders"]
    assert list(winner["intervals"])[:2] == ["accuracy", "loss"]
    for contender in (winner, default, baseline):
        assert contender["seconds"] > 0
        assert contender["cpuSeconds"] > 0
    assert (winner["gpuSeconds"], baseline["gpuSeconds"]) == (0, 0)
    assert default["gpuSeconds"] == pytest.approx(2 * default["seconds"], abs=0.01)
    assert " CPU</span>" in (searched.folder / "artifacts/export/report.html").read_text()


def test_a_task_may_act_when_its_model_is_there_and_its_error_costs_nothing(searched: Searched) -> None:
    assert searched.completed == [(searched.export, True)]


def test_a_trial_of_several_objectives_comes_out_the_same_again(searched: Searched) -> None:
    found = reproduce(searched.study, searched.run, searched.study.get_trials()[2], make_places(searched.folder))
    assert {figure.name for figure in found.figures} >= {"accuracy", "loss", "step 1: accuracy"}
    assert all(figure.stored == figure.now for figure in found.figures)
