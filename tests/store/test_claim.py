from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from optuna.trial import FrozenTrial, TrialState
from tests.postgres import PostgresServer
from tests.waiting import wait_until

from autoglm_api.attempts import Limits, TrialAttribute
from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause
from autoglm_api.run import Run
from autoglm_store.attempts import create_retry, fail, infeasible, set_attribute, settle_lost_claim, tell, void
from autoglm_store.claim import Claim, Nothing, claim
from autoglm_store.errors import LeaseLost
from autoglm_store.ledger import counts, logical_trials, retries_due, retry_of
from autoglm_store.limits import write_limits
from autoglm_store.points import next_assignment
from autoglm_store.sampling import suggest

from . import killing
from .studies import ME, make_run, make_study, reload, train_all

forked = multiprocessing.get_context("forkserver")
forked.set_forkserver_preload(["tests.store.killing"])


def one(granted: Claim | Nothing) -> Claim:
    assert isinstance(granted, Claim)
    return granted


def stuck(trials: Sequence[FrozenTrial], processes: Sequence[Any]) -> str:
    """What a person needs to see why nothing goes on."""
    attempts = [f"{trial.number} {trial.state.name} {trial.user_attrs}" for trial in trials]
    return "\n".join([*attempts, *(f"{process.pid} {process.exitcode}" for process in processes)])


def test_sixteen_workers_killed_at_every_step_train_exactly_max(url: str, tmp_path: Path) -> None:
    wanted = 30 if url.startswith("journal") else 16
    run, limits = make_run(trials={"max": wanted, "retries": 2}, enqueue=[{"x": 0.25}, {"x": 0.75}])
    study = make_study(url, run, limits)
    trained, done = tmp_path / "trained", tmp_path / "done"
    reapers = [forked.Process(target=killing.reaper, args=(url, run, str(done))) for _ in range(2)]
    workers: list[Any] = []
    killed = 0
    try:
        for process in reapers:
            process.start()
        deadline = time.monotonic() + 90
        while True:
            trials = study.get_trials(deepcopy=False)
            tally = counts(trials, limits)
            training = any(trial.state == TrialState.RUNNING for trial in trials)
            if tally.finished >= limits.max and not tally.waiting and not training:
                break
            assert time.monotonic() < deadline, stuck(trials, [*reapers, *workers])
            killed += sum(process.exitcode == -signal.SIGKILL for process in workers)
            workers = [process for process in workers if process.exitcode is None]
            missing = min(16, limits.max - tally.finished) - len(workers)
            for _ in range(missing):
                workers.append(forked.Process(target=killing.doomed_worker, args=(url, run, str(trained), 60)))
                workers[-1].start()
            time.sleep(0.05)
    finally:
        done.touch()
        for process in [*workers, *reapers]:
            process.join(20)
            process.kill()
    trials = study.get_trials(deepcopy=False)
    chains = logical_trials(trials, limits)
    assert killed > 2, "the kills did not happen"  # about 15 are expected; fewer than 6 is one run in a hundred
    assert len(chains) == wanted
    assert all(chain.last.state == TrialState.COMPLETE for chain in chains)
    # All that may be left over is the second of two retries that both reapers created; nobody will train it.
    left = [trial for trial in trials if not trial.state.is_finished()]
    assert all(trial.state == TrialState.WAITING and retry_of(trial) is not None for trial in left)
    attempts = Counter(trained.read_text().split())
    assert max(attempts.values()) == 1, "an attempt was trained twice"
    assert {point for chain in chains for point in [chain.last.params["x"]]} >= {0.25, 0.75}


def test_eight_workers_with_one_seed_have_no_two_equal_startup_points(url: str) -> None:
    run, limits = make_run(trials={"max": 40}, sampler={"type": "TPE", "seed": 7, "startupTrials": 30})
    make_study(url, run, limits)
    answers = forked.Queue()
    workers = [forked.Process(target=killing.claim_points, args=(url, run, 3, answers)) for _ in range(8)]
    for process in workers:
        process.start()
    points = [answers.get(timeout=60)["x"] for _ in range(24)]
    for process in workers:
        process.join(20)
    assert len(set(points)) == 24


def test_a_claim_beyond_max_is_voided_and_counts_nowhere(url: str) -> None:
    run, limits = make_run(trials={"max": 1})
    study, other = make_study(url, run, limits), reload(url, run)
    ask = study.ask

    def ask_late() -> Any:
        one(claim(other, run, ME))  # both have passed step 1; the other one is first
        return ask()

    study.ask = ask_late
    assert claim(study, run, ME) == Nothing()
    trials = study.get_trials()
    assert [TrialAttribute.VOID in trial.user_attrs for trial in trials] == [False, True]
    assert counts(trials, limits).running == 1
    assert counts(trials, limits).finished == 0


def test_a_claim_beyond_max_that_was_killed_before_it_was_voided_is_not_retried(url: str) -> None:
    run, limits = make_run(trials={"max": 2, "retries": 2})
    study = make_study(url, run, limits)
    for _ in range(3):
        set_attribute(study, study.ask(), TrialAttribute.OWNER, ME.to_json_dict())
    for trial in study.get_trials():
        fail(study, trial, Cause.LOST, "killed right after it had signed")
    assert [due.number for due in retries_due(study.get_trials(), limits)] == [0, 1]
    for trial in study.get_trials():
        create_retry(study, trial)  # even if somebody had created it already
    assert train_all(study, run).reason == Reason.MAX_TRIALS
    assert counts(study.get_trials(), limits).complete == 2
    raised = limits.model_copy(update={"max": 3})
    write_limits(study, raised)
    for trial in retries_due(study.get_trials(), raised):
        create_retry(study, trial)
    assert train_all(study, run).reason == Reason.MAX_TRIALS
    assert counts(study.get_trials(), raised).complete == 3


@pytest.fixture
def claimed(url: str) -> tuple[Any, Run, Limits, Claim]:
    run, limits = make_run(trials={"max": 3})
    study = make_study(url, run, limits)
    return study, run, limits, one(claim(study, run, ME))


def test_every_write_of_a_worker_that_lost_its_lease_is_refused(claimed: Any, url: str) -> None:
    study, run, _, granted = claimed
    operator = reload(url, run)
    fail(operator, operator.get_trials()[0], Cause.LOST, "pod gone")
    with pytest.raises(LeaseLost):
        set_attribute(study, granted.trial, TrialAttribute.METRICS, {})
    with pytest.raises(LeaseLost):
        tell(study, granted.trial, TrialState.COMPLETE, 0.5)
    with pytest.raises(LeaseLost):
        infeasible(study, granted.attempt, Cause.OUT_OF_MEMORY, "too late")
    stored = operator.get_trials()[0]
    assert (stored.state, stored.user_attrs[TrialAttribute.CAUSE]) == (TrialState.FAIL, Cause.LOST)
    assert TrialAttribute.METRICS not in stored.user_attrs


def test_a_claim_voided_before_it_was_signed_ends_the_worker(url: str) -> None:
    run, limits = make_run()
    study, operator = make_study(url, run, limits), reload(url, run)
    ask = study.ask

    def ask_slowly() -> Any:
        trial = ask()
        void(operator, operator.get_trials()[0])
        return trial

    study.ask = ask_slowly
    with pytest.raises(LeaseLost):
        claim(study, run, ME)
    assert counts(operator.get_trials(), limits).finished == 0


def test_telling_twice_the_same_is_a_success_and_another_value_is_not(claimed: Any) -> None:
    study, _, _, granted = claimed
    tell(study, granted.trial, TrialState.COMPLETE, 0.5)
    tell(study, granted.trial, TrialState.COMPLETE, 0.5)
    with pytest.raises(LeaseLost):
        tell(study, granted.trial, TrialState.COMPLETE, 0.6)


def test_two_operators_create_one_retry_that_trains(claimed: Any, url: str) -> None:
    study, run, limits, granted = claimed
    point = suggest(granted.trial, run.parameters)
    first, second = reload(url, run), reload(url, run)
    for operator in (first, second):
        fail(operator, operator.get_trials()[0], Cause.LOST, "pod gone")
    due = retries_due(first.get_trials(), limits)
    assert due == retries_due(second.get_trials(), limits)
    assert [trial.number for trial in due] == [0]
    create_retry(first, due[0])
    create_retry(second, due[0])
    assert counts(study.get_trials(), limits).waiting == 1
    train_all(study, run)
    retries = [trial for trial in study.get_trials() if retry_of(trial) == 0]
    assert [TrialAttribute.VOID in trial.user_attrs for trial in retries] == [False, True]
    assert retries[0].params == point
    tally = counts(study.get_trials(), limits)
    assert (tally.complete, tally.failed, tally.retried) == (3, 0, 1)
    assert retries_due(study.get_trials(), limits) == []


@pytest.mark.parametrize(("cause", "retried"), [(Cause.LOST, 10), (Cause.TASK_ERROR, 2), (Cause.NON_FINITE, 0)])
def test_free_causes_are_retried_ten_times_and_paid_ones_as_often_as_the_study_says(
    tmp_path: Path, cause: Cause, retried: int
) -> None:
    run, limits = make_run(trials={"max": 1, "retries": 2})
    study = make_study(f"journal://{tmp_path}/journal.log", run, limits)
    while not isinstance(granted := claim(study, run, ME), Nothing):
        fail(study, granted.attempt, cause, "again")
        for trial in retries_due(study.get_trials(), limits):
            create_retry(study, trial)
    assert granted.reason == Reason.MAX_TRIALS
    tally = counts(study.get_trials(), limits)
    assert (tally.failed, tally.retried) == (1, retried)


def test_a_lost_claim_of_a_fresh_trial_is_void_and_of_a_given_point_is_retried(url: str) -> None:
    run, limits = make_run(trials={"max": 2}, enqueue=[{"x": 0.25}])
    study = make_study(url, run, limits)
    study.ask()
    study.ask()
    now = datetime.now(UTC)
    trials = study.get_trials()
    assert killing.lost_claims(trials, {0: now, 1: now}, now + timedelta(seconds=59)) == []
    lost = killing.lost_claims(trials, {0: now, 1: now}, now + timedelta(seconds=61))
    for trial in [*lost, *lost]:
        settle_lost_claim(study, trial)
    for trial in retries_due(study.get_trials(), limits):
        create_retry(study, trial)
    train_all(study, run)
    chains = logical_trials(study.get_trials(), limits)
    assert [chain.last.state for chain in chains] == [TrialState.COMPLETE] * 2
    assert chains[0].last.params == {"x": 0.25}
    assert [TrialAttribute.VOID in trial.user_attrs for trial in study.get_trials()][:2] == [False, True]


def test_max_may_be_raised_and_lowered_while_the_study_runs(url: str) -> None:
    run, limits = make_run(trials={"max": 4}, enqueue=[{"x": 0.1}, {"x": 0.2}, {"x": 0.3}])
    study = make_study(url, run, limits)
    running = one(claim(study, run, ME))
    lowered = limits.model_copy(update={"max": 2})
    write_limits(study, lowered)
    suggest(running.trial, run.parameters)
    tell(study, running.trial, TrialState.COMPLETE, 0.1)
    assert train_all(study, run).reason == Reason.MAX_TRIALS
    assert counts(study.get_trials(), lowered).finished == 2
    raised = limits.model_copy(update={"max": 6})
    write_limits(study, raised)
    assert train_all(study, run).reason == Reason.MAX_TRIALS
    assert counts(study.get_trials(), raised).complete == 6


@pytest.mark.parametrize(
    ("goal", "changes", "reason"),
    [
        (None, {"stop": True}, None),
        (0.5, {}, Reason.GOAL_REACHED),
        (None, {"deadline": datetime(2020, 1, 1, tzinfo=UTC)}, Reason.DEADLINE),
        (None, {"max_failed": 0}, Reason.TOO_MANY_FAILED),
    ],
)
def test_nothing_is_claimed_once_the_study_has_ended(
    tmp_path: Path, goal: float | None, changes: Any, reason: Reason | None
) -> None:
    objective = {"metric": "accuracy", "direction": "Maximize", "goal": goal}
    run, limits = make_run(trials={"max": 10}, objectives=[objective])
    study = make_study(f"journal://{tmp_path}/journal.log", run, limits)
    for state, value in ((TrialState.FAIL, None), (TrialState.COMPLETE, 0.5)):
        granted = one(claim(study, run, ME))
        set_attribute(study, granted.trial, TrialAttribute.CAUSE, Cause.NON_FINITE)
        tell(study, granted.trial, state, value)
    write_limits(study, limits.model_copy(update=changes))
    assert claim(study, run, ME) == Nothing(reason)


def test_a_worker_stopped_inside_ask_does_not_stop_the_others(postgres: PostgresServer) -> None:
    url = _tenant(postgres)
    run, limits = make_run(trials={"max": 3})
    study = make_study(url, run, limits)
    _guard(postgres)
    stopped = forked.Queue()
    process = forked.Process(target=killing.stop_inside_ask, args=(url, run, stopped))
    process.start()
    pid = stopped.get(timeout=60)
    try:
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T")
        began = time.monotonic()
        assert not isinstance(next_assignment(study, run, ME), Nothing)
        assert time.monotonic() - began < 20
    finally:
        os.kill(pid, signal.SIGKILL)
        process.join(20)


def _tenant(postgres: PostgresServer) -> str:
    postgres.create_database("hasty")
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE hasty LOGIN PASSWORD 'pa{ss}'")
        connection.execute("ALTER DATABASE hasty OWNER TO hasty")
    return postgres.url("hasty", "hasty", "pa%7Bss%7D")


def _guard(postgres: PostgresServer) -> None:
    """The guards that the operator gives a tenant's role, only shorter; they hold for new connections."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        for name, value in (("idle_in_transaction_session_timeout", "5s"), ("lock_timeout", "4s")):
            connection.execute(f"ALTER ROLE hasty SET {name} = '{value}'".encode())
