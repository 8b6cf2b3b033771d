"""What earlier studies found is seen by samplers and counted by nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from optuna.trial import TrialState

from autoglm_api.attempts import StudyAttribute, TrialAttribute
from autoglm_api.conditions import Reason
from autoglm_api.names import optuna_study_name
from autoglm_api.run import Run
from autoglm_api.samplers import SamplerType
from autoglm_store.attempts import set_attribute, tell
from autoglm_store.claim import Nothing
from autoglm_store.creation import create_study
from autoglm_store.errors import StudyNotFound
from autoglm_store.front import front
from autoglm_store.ledger import best, counts, is_ours
from autoglm_store.points import Assignment, next_assignment

from .studies import ME, make_run, make_study, reload

EPOCHS = {"name": "epochs", "int": {"min": 1, "max": 8}}
RATE = {"name": "learning_rate", "float": {"min": 1e-5, "max": 1e-1, "log": True}}
LIMIT = {"metric": "loss", "operator": "LessOrEqual", "value": 1.0}


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"journal://{tmp_path}/journal.log"


def train(study: optuna.Study, run: Run, trials: int = 100, **metrics: float) -> None:
    for _ in range(trials):
        given = next_assignment(study, run, ME)
        if not isinstance(given, Assignment):
            return
        value = float(given.parameters["epochs"]) / 10
        set_attribute(study, given.trial, TrialAttribute.METRICS, {"accuracy": value, "loss": 0.5, **metrics})
        tell(study, given.trial, TrialState.COMPLETE, value)


def earlier(url: str, maximum: int = 6, space: Any = None, **metrics: float) -> None:
    run, limits = make_run(
        space or [EPOCHS, RATE], name="first", trials={"max": maximum}, sampler={"type": "Random", "seed": 9}
    )
    train(make_study(url, run, limits), run, **metrics)


def later(space: Any = None, kind: str = "Random", **changes: Any) -> Any:
    trials = {"max": 8}
    return make_run(
        space or [EPOCHS, RATE], name="second", warm_start=["first"], trials=trials, sampler={"type": kind}, **changes
    )


def imported(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in study.get_trials() if TrialAttribute.IMPORTED in trial.user_attrs]


def test_imported_trials_are_counted_nowhere_and_never_best(url: str) -> None:
    earlier(url, space=[{"name": "epochs", "int": {"min": 7, "max": 8}}, RATE])
    run, limits = later(enqueue=[{"epochs": 2, "learning_rate": 0.01}])
    study = make_study(url, run, limits)
    assert len(imported(study)) == 6
    assert counts(study.get_trials(), limits).waiting == 1
    assert best(study.get_trials(), run) is None
    first = next_assignment(study, run, ME)
    assert isinstance(first, Assignment)
    assert first.parameters["epochs"] == 2
    tell(study, first.trial, TrialState.COMPLETE, 0.2)
    leader = best(study.get_trials(), run)
    assert leader is not None
    assert leader.number == first.trial.number
    train(study, run)
    assert next_assignment(study, run, ME) == Nothing(Reason.MAX_TRIALS)
    assert counts(study.get_trials(), limits).complete == 8
    assert len(list(filter(is_ours, study.get_trials()))) == 8


@pytest.mark.parametrize("kind", [kind for kind in get_args(SamplerType) if kind != "Grid"])
def test_every_sampler_takes_imported_trials(kind: str, journal: str) -> None:
    earlier(journal)
    run, limits = later(kind=kind)
    study = make_study(journal, run, limits)
    train(study, run)
    assert counts(study.get_trials(), limits).complete == 8


def test_a_learner_needs_no_startup_trials_of_its_own(journal: str) -> None:
    earlier(journal, maximum=30)
    run, limits = later(kind="TPE")
    study = make_study(journal, run, limits)
    train(study, run, trials=4)
    own = [trial.params["epochs"] for trial in study.get_trials() if is_ours(trial)]
    assert sum(own) / len(own) > 5, "it began as if nothing was known"


def test_importing_again_after_a_kill_or_a_restart_adds_nothing(url: str) -> None:
    earlier(url)
    run, limits = later()
    name = optuna_study_name(run.namespace, run.name, run.uid)
    for _ in range(3):
        create_study(url, name, run, limits)
    study = reload(url, run)
    assert len(imported(study)) == 6


def test_what_does_not_fit_is_left_out_and_told(journal: str) -> None:
    earlier(journal, maximum=8)
    run, limits = later([{"name": "epochs", "int": {"min": 1, "max": 4}}, RATE])
    study = make_study(journal, run, limits)
    told = study.user_attrs[StudyAttribute.WARM_START]
    assert 0 < len(imported(study)) < 8
    assert all(trial.params["epochs"] <= 4 for trial in imported(study))
    assert f"{len(imported(study))} of 8 complete trials of study first imported" in told
    assert "epochs outside [1, 4]" in told


def test_a_parameter_that_was_not_searched_stood_at_its_default(journal: str) -> None:
    earlier(journal, space=[EPOCHS])
    run, limits = later()
    study = make_study(journal, run, limits)
    assert {trial.params["learning_rate"] for trial in imported(study)} == {1e-3}
    dropped, limits = later([EPOCHS])
    other = make_study(journal, dropped, limits)
    assert all(trial.params.keys() == {"epochs"} for trial in imported(other))
    assert study.user_attrs[StudyAttribute.WARM_START].endswith("imported, learning_rate taken as the task's default")


def test_what_is_not_alike_is_told(journal: str) -> None:
    earlier(journal)
    rows = {"train": {"source": "file:///others.csv"}}
    run, limits = later([EPOCHS], data=rows, model={"source": "package://another"})
    study = make_study(journal, run, limits)
    told = "imported, learning_rate dropped, trained on another base model, measured on other rows"
    assert study.user_attrs[StudyAttribute.WARM_START].endswith(told)


def test_constraints_are_judged_by_what_was_measured(journal: str) -> None:
    earlier(journal, loss=3.0)
    run, limits = later(constraints=[LIMIT])
    study = make_study(journal, run, limits)
    assert all(trial.constraints == {"0:loss": 2.0} for trial in imported(study))


def test_a_metric_that_was_not_measured_keeps_a_trial_out(journal: str) -> None:
    earlier(journal)
    run, limits = later(objectives=[{"metric": "recall", "direction": "Maximize"}])
    study = make_study(journal, run, limits)
    assert imported(study) == []
    assert "6 left out: no finite recall" in study.user_attrs[StudyAttribute.WARM_START]


def test_a_study_of_several_objectives_begins_with_what_measured_them_all(url: str) -> None:
    earlier(url)
    both = [{"metric": "loss", "direction": "Minimize"}, {"metric": "accuracy", "direction": "Maximize"}]
    run, limits = later(kind="TPE", objectives=both)
    study = make_study(url, run, limits)
    taken = imported(study)
    assert len(taken) == 6
    assert all(trial.values == [0.5, trial.params["epochs"] / 10] for trial in taken)
    assert front(study.get_trials(), run) == []
    given = next_assignment(study, run, ME)
    assert isinstance(given, Assignment)
    tell(study, given.trial, TrialState.COMPLETE, [0.4, 0.1])
    assert [member.number for member in front(study.get_trials(), run)] == [given.trial.number]


def test_an_import_is_not_imported_again(journal: str) -> None:
    earlier(journal)
    run, limits = later()
    train(make_study(journal, run, limits), run)
    third, limits = make_run([EPOCHS, RATE], name="third", warm_start=["second"], trials={"max": 4})
    assert len(imported(make_study(journal, third, limits))) == 8


def test_a_missing_study_is_named_and_nothing_is_created(url: str) -> None:
    run, limits = make_run([EPOCHS, RATE], name="lonely", warm_start=["nobody"])
    with pytest.raises(StudyNotFound, match=r"names study nobody"):
        make_study(url, run, limits)
    with pytest.raises(Exception, match=r"holds no study|does not exist"):
        reload(url, run)
