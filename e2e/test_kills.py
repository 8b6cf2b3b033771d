"""Whatever is killed, and whenever: the study has as many trials as it was asked for, each with one result."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from e2e.cluster.kubelet import Kubelet
from e2e.installation import Installation
from e2e.kube import Kube
from e2e.studies import condition, put_rows, status, study, wait_for_reason, workers
from e2e.trials import (
    Trials,
    admin_url,
    owner,
    tuned,
    wait_until,
    wait_until_searched,
    waiting_worker,
    writes_wait,
)
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import TrialAttribute
from autoglm_api.exits import Cause
from autoglm_api.names import STORAGE_SECRET

pytestmark = pytest.mark.timeout(600)
OFTEN = {"resources": {"limits": {"cpu": "1"}}, "terminationGracePeriodSeconds": 15, "checkpointEverySeconds": 1}


def test_trial_of_a_killed_worker_goes_on_from_its_checkpoint(
    installation: Installation, kube: Kube, kubelet: Kubelet, namespace: str
) -> None:
    put_rows(kube, namespace)
    kube.create(tuned("killed", epochs=4, trials={"max": 2, "parallel": 1}, trainer=OFTEN), namespace)
    trials = Trials(kube, namespace, "killed")

    def saved() -> FrozenTrial | None:
        attempt = trials.training(steps=2)
        return attempt if attempt and TrialAttribute.CHECKPOINT in attempt.user_attrs else None

    attempt = wait_until(saved, kube, namespace)
    kubelet.signal(namespace, owner(attempt), signal.SIGKILL)
    told = wait_until_searched(kube, namespace, "killed")["trials"]

    trials.assert_exact(2)
    killed = trials.attempts()[attempt.number]
    assert killed.state is TrialState.FAIL
    assert killed.user_attrs[TrialAttribute.CAUSE] == Cause.LOST
    assert "137" in killed.user_attrs[TrialAttribute.MESSAGE]
    (retry,) = [each for each in trials.counted() if each.user_attrs.get(TrialAttribute.RETRY_OF) == attempt.number]
    step = killed.user_attrs[TrialAttribute.CHECKPOINT]["step"]
    before = {known: value for known, value in killed.intermediate_values.items() if known <= step}
    assert retry.params == killed.params
    assert before.items() <= retry.intermediate_values.items()
    assert f"goes on after step {step}" in kubelet.logs(namespace, owner(retry))
    assert (told["complete"], told["retried"], told.get("failed", 0)) == (2, 1, 0)
    installation.check_operator()


def test_worker_killed_between_the_steps_of_a_trial_loses_and_adds_none(
    installation: Installation, kube: Kube, kubelet: Kubelet, namespace: str
) -> None:
    """Killed after `ask` and before it signs; after it signs and before it has a point; while it tells the result."""
    put_rows(kube, namespace)
    kube.create(study("steps", suspend=True, trials={"max": 4, "parallel": 1}), namespace)
    wait_for_reason(kube, namespace, "steps", "Ready", "Suspended")
    trials, tables = Trials(kube, namespace, "steps"), ["trial_user_attributes", "trial_params", "trial_values"]
    seen = []
    for table in tables:
        with writes_wait(installation.postgres, namespace, table):
            if table == tables[0]:
                kube.patch("AutoGLMStudy", "steps", namespace, {"spec": {"suspend": False}})
            pod = waiting_worker(kube, installation.postgres, namespace, table)
            # The newest: what a killed worker left without an owner stays RUNNING for a minute.
            newest = [each for each in trials.attempts() if each.state is TrialState.RUNNING][-1]
            seen.append((TrialAttribute.OWNER in newest.user_attrs, bool(newest.params)))
            kubelet.signal(namespace, pod, signal.SIGKILL)
    told = wait_until_searched(kube, namespace, "steps")

    assert seen == [(False, False), (True, False), (True, True)]
    trials.assert_exact(4)
    assert told["progress"] == "4/4"
    installation.check_operator()


def test_worker_stopped_while_it_asks_does_not_stop_the_others(
    installation: Installation, kube: Kube, kubelet: Kubelet, namespace: str
) -> None:
    """It holds the study's row; the server takes it away after 30 seconds, and the stopped worker loses nothing."""
    put_rows(kube, namespace)
    body = tuned("stopped", epochs=1, suspend=True, trials={"max": 4, "parallel": 2})
    kube.create(body, namespace)
    wait_for_reason(kube, namespace, "stopped", "Ready", "Suspended")
    trials = Trials(kube, namespace, "stopped")
    with writes_wait(installation.postgres, namespace, "trials"):
        kube.patch("AutoGLMStudy", "stopped", namespace, {"spec": {"suspend": False}})
        paused = waiting_worker(kube, installation.postgres, namespace, "trials")
        kubelet.signal(namespace, paused, signal.SIGSTOP)

    def done_by_others() -> bool:
        return any(owner(attempt) != paused for attempt in trials.complete())

    wait_until(done_by_others, kube, namespace)
    kubelet.signal(namespace, paused, signal.SIGCONT)
    wait_until_searched(kube, namespace, "stopped")
    trials.assert_exact(4)
    assert [job["status"].get("failed", 0) for job in workers(kube, namespace, "stopped")] == [0, 0]
    installation.check_operator()


def test_operator_killed_at_each_step_comes_to_the_same_end(
    installation: Installation, kube: Kube, namespace: str
) -> None:
    put_rows(kube, namespace)
    trials, operator = Trials(kube, namespace, "orphan"), installation.operator
    kube.create(tuned("orphan", epochs=3, deletionPolicy="Delete", trials={"max": 3, "parallel": 1}), namespace)

    def jobs(component: str) -> list[dict[str, Any]]:
        return kube.list("Job", namespace, f"app.kubernetes.io/component={component}")

    def kill_operator_when(reached: Callable[[], object]) -> None:
        wait_until(reached, kube, namespace)
        operator.kill()
        operator.start()

    steps: dict[str, Callable[[], object]] = {
        "the database's Secret is there": lambda: kube.get("Secret", STORAGE_SECRET, namespace),
        "the first Job is there": lambda: workers(kube, namespace, "orphan"),
        "the first trial runs": trials.training,
        "the first trial is complete": trials.complete,
        "the last trial runs": lambda: len(trials.originals()) == 3 and trials.training(),
        "the export runs": lambda: jobs("export"),
    }
    for reached in steps.values():
        kill_operator_when(reached)
    wait_for_reason(kube, namespace, "orphan", "Complete", "MaxTrialsReached", timeout_seconds=400)

    trials.assert_exact(3)
    names = sorted(job["metadata"]["name"] for job in kube.list("Job", namespace))
    assert [name.rpartition("orphan-")[2][6:] for name in names] == ["export", "w0-0"], names
    assert status(kube, namespace, "orphan")["model"]["digest"].startswith("sha256:")
    assert condition(kube, namespace, "orphan", "Ready")["reason"] == "Complete"

    kube.delete("AutoGLMStudy", "orphan", namespace)
    kill_operator_when(lambda: jobs("cleanup") or kube.get("AutoGLMStudy", "orphan", namespace) is None)
    wait_until(lambda: kube.get("AutoGLMStudy", "orphan", namespace) is None, kube, namespace)
    with psycopg.connect(admin_url(installation.postgres, namespace)) as connection:
        assert connection.execute("SELECT study_name FROM studies").fetchall() == []
    installation.check_operator()


def test_workers_go_on_without_the_operator(installation: Installation, kube: Kube, namespace: str) -> None:
    put_rows(kube, namespace)
    kube.create(study("alone", trials={"max": 3, "parallel": 1}), namespace)
    trials = Trials(kube, namespace, "alone")
    wait_until(lambda: workers(kube, namespace, "alone"), kube, namespace)
    installation.operator.kill()
    wait_until(lambda: len(trials.complete()) == 3, kube, namespace)
    installation.operator.start()
    wait_until_searched(kube, namespace, "alone")
    trials.assert_exact(3)
    installation.check_operator()
