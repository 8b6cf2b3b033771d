from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from tests.postgres import start_postgres
from tests.store.studies import make_run, make_study
from tests.waiting import wait_until

from autoglm_api.attempts import TrialAttribute
from autoglm_api.exits import Cause, ExitCode
from autoglm_api.run import Run
from autoglm_store.attempts import create_retry, fail
from autoglm_store.ledger import counts, retries_due
from autoglm_store.limits import write_limits
from autoglm_trainer.contract import TrialControl

from .processes import make_worker, worker_process
from .tasks import FakeTask, Point, Steps

forked = multiprocessing.get_context("forkserver")
forked.set_forkserver_preload(["tests.store.killing", "tests.trainer.worker.processes"])


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"journal://{tmp_path}/journal.log"


@pytest.fixture
def start() -> Iterator[Callable[[str, Run, FakeTask, Path], Any]]:
    """Starts workers as processes; none outlives the test."""
    processes: list[Any] = []

    def begin(url: str, run: Run, task: FakeTask, folder: Path) -> Any:
        processes.append(forked.Process(target=worker_process, args=(url, run, task, folder)))
        processes[-1].start()
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.join(20)


def lines(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def undisturbed(tmp_path: Path, run: Run, limits: Any, count: int) -> float:
    """What the study's only trial is worth when nothing interrupts it."""
    url = f"journal://{tmp_path}/undisturbed.log"
    study = make_study(url, run, limits)
    make_worker(url, run, FakeTask(Steps(count)), tmp_path / "undisturbed").work()
    value = study.get_trials()[0].value
    assert value is not None
    return value


def test_a_killed_trial_goes_on_from_its_checkpoint_to_the_same_result(
    url: str, tmp_path: Path, start: Callable[..., Any]
) -> None:
    run, limits = make_run(trials={"max": 1}, enqueue=[{"x": 0.5}], checkpoint_every_seconds=0)
    study = make_study(url, run, limits)
    marks = tmp_path / "marks"
    process = start(url, run, FakeTask(Steps(12, 0.1, marks)), tmp_path)
    wait_until(lambda: len(lines(marks)) >= 6)
    os.kill(process.pid, signal.SIGKILL)
    process.join(20)
    fail(study, study.get_trials()[0], Cause.LOST, "killed")
    for trial in retries_due(study.get_trials(), limits):
        create_retry(study, trial)
    half = tmp_path / "artifacts/checkpoints/0/step-9.9"  # it was killed before it recorded this one
    half.mkdir()
    (half / "state.json").touch()
    before = len(lines(marks))
    assert make_worker(url, run, FakeTask(Steps(12, 0.0, marks)), tmp_path).work() == ExitCode.NOTHING_LEFT
    again = lines(marks)[before:]
    assert 5 <= again[0] <= 7
    assert again[-1] == 12
    retry = study.get_trials()[1]
    assert retry.value == undisturbed(tmp_path, run, limits, 12)
    assert sorted(retry.intermediate_values) == list(range(1, 13))
    assert not list((tmp_path / "artifacts/checkpoints").iterdir())


def test_sigterm_between_steps_saves_releases_and_exits_75(url: str, tmp_path: Path, start: Callable[..., Any]) -> None:
    run, limits = make_run(trials={"max": 1}, enqueue=[{"x": 0.5}])
    study = make_study(url, run, limits)
    marks = tmp_path / "marks"
    process = start(url, run, FakeTask(Steps(500, 0.05, marks)), tmp_path)
    wait_until(lambda: len(lines(marks)) >= 4)
    process.terminate()
    process.join(20)
    assert process.exitcode == ExitCode.RELEASED
    trial = study.get_trials()[0]
    assert (trial.state, trial.user_attrs[TrialAttribute.CAUSE]) == (TrialState.FAIL, Cause.RELEASED)
    assert trial.user_attrs[TrialAttribute.CHECKPOINT]["step"] >= 4
    assert json.loads((tmp_path / "termination").read_text())["cause"] == Cause.RELEASED
    assert [due.number for due in retries_due(study.get_trials(), limits)] == [0]


def endless_step(point: Point, control: TrialControl) -> dict[str, float]:
    """One step in C that lets other threads run and answers no signal, like a long operation of torch."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    return {}


def test_sigterm_in_a_long_step_is_answered_ten_seconds_before_the_grace_is_over(
    url: str, tmp_path: Path, start: Callable[..., Any]
) -> None:
    run, limits = make_run(trials={"max": 1}, grace_seconds=12)
    study = make_study(url, run, limits)
    process = start(url, run, FakeTask(endless_step), tmp_path)
    wait_until(lambda: study.get_trials() and study.get_trials()[0].params)
    began = time.monotonic()
    process.terminate()
    process.join(30)
    assert process.exitcode == ExitCode.RELEASED
    assert time.monotonic() - began < 12
    trial = study.get_trials()[0]
    assert (trial.state, trial.user_attrs[TrialAttribute.CAUSE]) == (TrialState.FAIL, Cause.RELEASED)
    assert [due.number for due in retries_due(study.get_trials(), limits)] == [0]


def test_a_main_thread_that_hangs_is_ended_after_the_timeout(
    journal: str, tmp_path: Path, start: Callable[..., Any]
) -> None:
    run, limits = make_run(trials={"max": 1}, timeout_seconds=1, grace_seconds=1)
    study = make_study(journal, run, limits)
    process = start(journal, run, FakeTask(endless_step), tmp_path)
    process.join(60)
    assert process.exitcode == ExitCode.OTHER
    assert study.get_trials()[0].user_attrs[TrialAttribute.CAUSE] == Cause.TIMEOUT


def test_a_trial_that_takes_too_long_is_failed_and_the_worker_goes_on(
    journal: str, tmp_path: Path, start: Callable[..., Any]
) -> None:
    run, limits = make_run(trials={"max": 2}, timeout_seconds=1)
    study = make_study(journal, run, limits)
    process = start(journal, run, FakeTask(Steps(1000, 0.05)), tmp_path)
    process.join(60)
    assert process.exitcode == ExitCode.NOTHING_LEFT
    assert [trial.user_attrs[TrialAttribute.CAUSE] for trial in study.get_trials()] == [Cause.TIMEOUT] * 2
    assert counts(study.get_trials(), limits).failed == 2


@pytest.mark.parametrize("change", [{"stop": True}, {"deadline": datetime(2020, 1, 1, tzinfo=UTC)}])
def test_a_study_that_ends_stops_the_trial_that_is_training(
    url: str, tmp_path: Path, start: Callable[..., Any], change: dict[str, Any]
) -> None:
    run, limits = make_run(trials={"max": 5})
    study = make_study(url, run, limits)
    process = start(url, run, FakeTask(Steps(10_000, 0.02)), tmp_path)
    wait_until(lambda: study.get_trials() and study.get_trials()[0].intermediate_values)
    ended = limits.model_copy(update=change)
    write_limits(study, ended)
    process.join(60)
    assert process.exitcode == ExitCode.NOTHING_LEFT
    assert [trial.user_attrs[TrialAttribute.CAUSE] for trial in study.get_trials()] == [Cause.STOPPED]
    assert counts(study.get_trials(), ended).failed == 0


def test_a_worker_survives_its_database_being_stopped_and_started(tmp_path: Path, start: Callable[..., Any]) -> None:
    server = start_postgres(tmp_path / "server")
    try:
        url = server.create_database("own")
        run, limits = make_run(trials={"max": 2}, enqueue=[{"x": 0.5}])
        study = make_study(url, run, limits)
        marks = tmp_path / "marks"
        process = start(url, run, FakeTask(Steps(20, 0.05, marks)), tmp_path)
        wait_until(lambda: len(lines(marks)) >= 5)
        server.stop()
        time.sleep(0.5)  # the outage itself
        assert process.exitcode is None
        server.start()
        process.join(60)
        assert process.exitcode == ExitCode.NOTHING_LEFT
        trials = make_study(url, run, limits).get_trials()
        assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
        assert [sorted(trial.intermediate_values) for trial in trials] == [list(range(1, 21))] * 2
        assert lines(marks) == [*range(1, 21)] * 2
        del study
    finally:
        server.stop()
