"""A trial made again: the same values from the same surroundings, a sentence where something has changed."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from tests.store.studies import make_study
from tests.trainer.task.making import colour_rows, make_places, make_run, write_model, write_rows
from tests.trainer.worker.processes import make_worker
from typer.testing import CliRunner

from autoglm_api.attempts import Limits, Owner, StudyAttribute, TrialAttribute
from autoglm_api.run import Run
from autoglm_api.study import Objective
from autoglm_cli.errors import CliError, UsageError
from autoglm_cli.folder import RunFolder, RunRecord
from autoglm_cli.main import app
from autoglm_store.limits import read_surroundings, write_surroundings
from autoglm_trainer.contract import Places
from autoglm_trainer.errors import DataError, NothingToReproduce
from autoglm_trainer.reproduction import reproduce
from autoglm_trainer.tasks import get_task
from autoglm_trainer.work.surroundings import look_around

SHORT = {"method": "lora", "epochs": 2, "learning_rate": 2e-3, "batch_size": 16}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, optuna.Study]:
    """A frozen head, and two LoRA trials too short to be good enough for the pruner."""
    folder = tmp_path_factory.mktemp("reproduction")
    run = make_run(
        f"file://{write_model(folder / 'model', 'bert')}",
        write_rows(folder / "train.jsonl", colour_rows(60)),
        enqueue=[{"method": "head"}, SHORT, {**SHORT, "learning_rate": 2e-5}],
        objectives=[{"metric": "loss", "direction": "Minimize"}],
        pruner={"type": "Threshold", "upper": 0.5, "warmupSteps": 1},
        trials={"max": 3},
    )
    record = RunRecord(namespace=run.namespace, name=run.name, uid=run.uid, file="s.yaml", created=datetime.now(UTC))
    (folder / "run.json").write_text(record.model_dump_json(by_alias=True))
    url = RunFolder(folder).storage_url
    study = make_study(url, run, Limits(max=3, max_failed=1, retries=0))
    loaded = get_task(run.task).load(run, make_places(folder))
    worker = make_worker(url, run, loaded, folder)
    worker.owner = Owner(name="w", identity="1@0", surroundings=write_surroundings(study, look_around(loaded)))
    worker.work()
    return folder, run, study


def first(study: optuna.Study, state: TrialState) -> FrozenTrial:
    return next(trial for trial in study.get_trials() if trial.state == state)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_complete_and_pruned_trials_come_out_the_same_to_the_last_digit(
    searched: tuple[Path, Run, optuna.Study], number: int
) -> None:
    folder, run, study = searched
    trial = study.get_trials()[number]
    found = reproduce(study, run, trial, make_places(folder))
    measured = {figure.name for figure in found.figures}
    reported = {f"step {step}: loss" for step in trial.intermediate_values}
    assert reported <= measured
    assert measured - reported == set(trial.user_attrs.get(TrialAttribute.METRICS, {})) - {"latency_p95_ms"}
    assert [figure for figure in found.figures if figure.stored != figure.now] == []
    assert found.changed == ()


def test_the_pruned_trial_is_compared_up_to_where_it_was_pruned(searched: tuple[Path, Run, optuna.Study]) -> None:
    folder, run, study = searched
    pruned = first(study, TrialState.PRUNED)
    found = reproduce(study, run, pruned, make_places(folder))
    assert [figure.name for figure in found.figures] == [f"step {step}: loss" for step in pruned.intermediate_values]


def test_a_course_of_measured_times_is_nothing_to_compare(searched: tuple[Path, Run, optuna.Study]) -> None:
    folder, run, study = searched
    timed = run.model_copy(update={"objectives": (Objective(metric="latency_p95_ms", direction="Minimize"),)})
    with pytest.raises(NothingToReproduce):
        reproduce(study, timed, first(study, TrialState.PRUNED), make_places(folder))


def test_a_training_from_another_seed_is_told_apart(searched: tuple[Path, Run, optuna.Study]) -> None:
    folder, run, study = searched
    trial = study.get_trials()[1]
    trial.user_attrs[TrialAttribute.ORIGIN] = 77
    found = reproduce(study, run, trial, make_places(folder))
    assert not all(figure.agrees(1e-6) for figure in found.figures)


def test_other_rows_are_refused_because_a_comparison_would_say_nothing(
    searched: tuple[Path, Run, optuna.Study], tmp_path: Path
) -> None:
    folder, run, study = searched
    source = write_rows(tmp_path / "train.jsonl", colour_rows(61))
    train = run.data.train.model_copy(update={"source": source})
    changed = run.model_copy(update={"data": run.data.model_copy(update={"train": train})})
    with pytest.raises(DataError, match=r"data\.train: the rows are not those .* put the files back"):
        reproduce(study, changed, study.get_trials()[0], make_places(folder))


def test_changed_libraries_and_threads_are_told(searched: tuple[Path, Run, optuna.Study]) -> None:
    folder, run, study = searched
    trial = study.get_trials()[0]
    kept = read_surroundings(study, Owner.model_validate(trial.user_attrs[TrialAttribute.OWNER]).surroundings)
    assert kept is not None
    older = kept.model_copy(update={"versions": {**kept.versions, "torch": "1.0"}, "threads": 64})
    trial.user_attrs[TrialAttribute.OWNER] = Owner(
        name="w", identity="1@0", surroundings=write_surroundings(study, older)
    ).to_json_dict()
    found = reproduce(study, run, trial, make_places(folder))
    assert [sentence.split(" then")[0] for sentence in found.changed] == ["torch 1.0", "64 threads"]


def test_equal_surroundings_are_kept_once(searched: tuple[Path, Run, optuna.Study]) -> None:
    _, _, study = searched
    trial = study.get_trials()[0]
    kept = read_surroundings(study, Owner.model_validate(trial.user_attrs[TrialAttribute.OWNER]).surroundings)
    assert kept is not None
    before = [name for name in study.user_attrs if name.startswith(StudyAttribute.SURROUNDINGS)]
    write_surroundings(study, kept)
    assert [name for name in study.user_attrs if name.startswith(StudyAttribute.SURROUNDINGS)] == before


def test_a_trial_without_a_result_is_refused(searched: tuple[Path, Run, optuna.Study]) -> None:
    folder, run, study = searched
    failed = study.get_trials()[0]
    failed.state = TrialState.FAIL
    with pytest.raises(NothingToReproduce, match="trial 0 is FAIL and has no result"):
        reproduce(study, run, failed, make_places(folder))


def command(*arguments: str) -> str:
    answer = CliRunner().invoke(app, ["reproduce", *arguments], env={"COLUMNS": "200"})
    if answer.exception and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.stdout


def test_the_command_compares_the_best_trial_or_the_named_one(searched: tuple[Path, Run, optuna.Study]) -> None:
    folder, _, study = searched
    assert "trial 0 comes out the same" in command(str(folder))
    told = command(str(folder), "1", "--tolerance", "0")
    assert "trial 1 comes out the same" in told
    equal = [line for line in told.splitlines() if line.strip().endswith("equal")]
    assert len(equal) >= len(study.get_trials()[1].intermediate_values)


def test_sigterm_leaves_nothing_behind(
    searched: tuple[Path, Run, optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def train(_study: optuna.Study, _run: Run, _trial: FrozenTrial, places: Places) -> None:
        written.append(places.scratch / "model")
        written[0].write_text("downloaded")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("autoglm_trainer.reproduction.reproduce", train)
    before = signal.getsignal(signal.SIGTERM)
    answer = CliRunner().invoke(app, ["reproduce", str(searched[0])])
    signal.signal(signal.SIGTERM, before)
    assert answer.exit_code == 143
    assert written
    assert not written[0].parent.exists()


def test_a_difference_ends_the_command_with_its_name(
    searched: tuple[Path, Run, optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = searched
    monkeypatch.setattr("autoglm_trainer.reproduction.training_seed", lambda *_: 77)
    with pytest.raises(CliError, match="trial 1 comes out differently: "):
        command(str(folder), "1")


def test_unknown_studies_and_trials_are_refused_with_what_is_known(
    searched: tuple[Path, Run, optuna.Study], database: str, tmp_path: Path
) -> None:
    folder, run, _ = searched
    with pytest.raises(UsageError, match="no trial 9; known: 3 trials from 0 to 2"):
        command(str(folder), "9")
    with pytest.raises(UsageError, match="there is no run nobody"):
        command("nobody", "--dir", str(tmp_path))
    with pytest.raises(UsageError, match="NAMESPACE/NAME"):
        command("colours", "--storage", database)
    for uid in ("a", "b"):
        twin = run.model_copy(update={"name": "twins", "uid": uid})
        make_study(database, twin, Limits(max=3, max_failed=1, retries=0))
    with pytest.raises(UsageError, match="holds no study lab/nobody"):
        command("lab/nobody", "--storage", database)
    with pytest.raises(UsageError, match="several studies, lab/twins/a, lab/twins/b"):
        command("lab/twins", "--storage", database)
    with pytest.raises(UsageError, match="no feasible trial yet"):
        command("lab/twins/b", "--storage", database)
