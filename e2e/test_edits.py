"""What may be edited reaches workers that are already running; what may not is named, and the run goes on."""

from __future__ import annotations

from typing import Any

import pytest
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import condition, put_rows, status, wait_for_reason, worker_pods, workers
from e2e.trials import Trials, owner, tuned, wait_until, wait_until_searched
from kubernetes.client.exceptions import ApiException
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import TrialAttribute
from autoglm_api.exits import Cause

pytestmark = pytest.mark.timeout(600)


def edit(kube: Kube, namespace: str, name: str, **spec: Any) -> None:
    kube.patch("AutoGLMStudy", name, namespace, {"spec": spec})


def running(trials: Trials) -> list[FrozenTrial]:
    return [attempt for attempt in trials.attempts() if attempt.state is TrialState.RUNNING]


def test_edits_of_max_reach_a_running_worker(installation: Installation, kube: Kube, namespace: str) -> None:
    put_rows(kube, namespace)
    kube.create(tuned("longer", trials={"max": 1, "parallel": 1}), namespace)
    trials = Trials(kube, namespace, "longer")
    wait_until(trials.training, kube, namespace)
    edit(kube, namespace, "longer", trials={"max": 9})
    wait_until(lambda: len(trials.originals()) == 2 and trials.training(), kube, namespace)
    edit(kube, namespace, "longer", trials={"max": 2})

    told = wait_until_searched(kube, namespace, "longer")
    trials.assert_exact(2)
    assert told["progress"] == "2/2"
    assert len(workers(kube, namespace, "longer")) == 1
    assert len({owner(attempt) for attempt in trials.attempts()}) == 1
    installation.check_operator()


def test_more_and_fewer_workers_then_a_rest_then_the_end(
    installation: Installation, kube: Kube, namespace: str
) -> None:
    put_rows(kube, namespace)
    kube.create(tuned("moody", trials={"max": 20, "parallel": 1}), namespace)
    trials = Trials(kube, namespace, "moody")
    wait_until(trials.training, kube, namespace)
    edit(kube, namespace, "moody", trials={"parallel": 2})
    wait_until(lambda: len({owner(attempt) for attempt in running(trials) if attempt.user_attrs}) == 2, kube, namespace)

    edit(kube, namespace, "moody", trials={"parallel": 1})
    wait_until(lambda: len(worker_pods(kube, namespace, "moody")) == 1, kube, namespace)
    check_immutable(kube, namespace)

    edit(kube, namespace, "moody", suspend=True)
    wait_for_reason(kube, namespace, "moody", "Suspended", "Suspended")
    wait_for(lambda: workers(kube, namespace, "moody") == [] and not worker_pods(kube, namespace, "moody"), 60)
    wait_for(lambda: not running(trials), 60)
    assert status(kube, namespace, "moody")["phase"] == "Suspended"
    released = [each for each in trials.attempts() if each.user_attrs.get(TrialAttribute.CAUSE) == Cause.RELEASED]
    assert released

    wanted = max(3, len(trials.originals()))
    edit(kube, namespace, "moody", suspend=False, trials={"max": wanted})
    told = wait_until_searched(kube, namespace, "moody", 400)["trials"]
    trials.assert_exact(wanted)
    assert (told["complete"], told.get("failed", 0)) == (wanted, 0)
    installation.check_operator()


def check_immutable(kube: Kube, namespace: str) -> None:
    """The API server refuses the edit (1.25 and newer), or the operator names the field and keeps the first value."""
    refused = ""
    try:
        edit(kube, namespace, "moody", sampler={"seed": 99})
    except ApiException as error:
        refused = str(error.body)
    if refused:
        assert "once the study exists" in refused
        return
    said = wait_for_reason(kube, namespace, "moody", "Ready", "SpecChanged")
    assert said["status"] == "False"
    assert "spec.sampler" in said["message"]
    assert len(worker_pods(kube, namespace, "moody")) == 1
    edit(kube, namespace, "moody", sampler=None)
    wait_for(lambda: condition(kube, namespace, "moody", "Ready")["status"] == "True")
