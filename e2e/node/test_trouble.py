"""What only a real node does: the kernel's memory limit, a real grace period, a scheduler that finds no node."""

from __future__ import annotations

from datetime import datetime

import pytest
from e2e.kube import Kube, wait_for
from e2e.node.fixtures import put_inputs, small_study
from e2e.node.machine import Machine
from e2e.node.release import Release
from e2e.studies import DATA_CLAIM, status, wait_for_reason
from e2e.trials import Trials, owner, wait_until, wait_until_searched

from autoglm_api.attempts import TrialAttribute
from autoglm_api.exits import Cause

pytestmark = pytest.mark.timeout(900)
GRACE_SECONDS = 20


def test_a_trial_over_its_memory_limit_is_tried_afresh_and_then_infeasible(
    machine: Machine, kube: Kube, release: Release, namespace: str
) -> None:
    """The first trial fits; the second is killed by the kernel, once beside the first one's leftovers, once alone.

    It needs about 1.5 GiB: too much, but within what the estimate may be wrong by, so that it is tried at all.
    """
    put_inputs(machine, namespace)
    parameters = [
        {"name": "method", "categorical": {"choices": ["head", "full"]}},
        {"name": "batch_size", "categorical": {"choices": [6]}, "when": {"parameter": "method", "in": ["full"]}},
        {"name": "max_length", "categorical": {"choices": [32, 256]}},
    ]
    body = small_study(
        "large",
        data={"train": {"source": f"pvc://{DATA_CLAIM}/long.csv"}, "validation": {"fraction": 0.2}},
        parameters=parameters,
        enqueue=[
            {"method": "head", "max_length": 32},
            {"method": "full", "batch_size": 6, "max_length": 256},
        ],
        trials={"max": 2, "parallel": 1},
        trainer={"resources": {"limits": {"cpu": "1", "memory": "1200Mi"}}, "terminationGracePeriodSeconds": 15},
    )
    kube.create(body, namespace)
    told = wait_until_searched(kube, namespace, "large", 480)["trials"]

    assert (told["complete"], told["infeasible"], told["retried"], told.get("failed", 0)) == (1, 1, 1, 0)
    ended = [each.user_attrs.get(TrialAttribute.CAUSE) for each in Trials(kube, namespace, "large").counted()]
    assert ended == [None, Cause.OUT_OF_MEMORY, Cause.OUT_OF_MEMORY]
    assert status(kube, namespace, "large")["best"]["parameters"]["method"] == "head"
    release.check_operator()


def test_sigterm_in_a_long_step_releases_the_trial_before_the_grace_is_over(
    machine: Machine, kube: Kube, release: Release, namespace: str
) -> None:
    """The second of two steps takes longer than the grace period leaves: only the watchdog can say goodbye."""
    put_inputs(machine, namespace)
    values = {"method": "lora", "lora_r": 4, "batch_size": 32, "max_length": 256, "epochs": 1}
    body = small_study(
        "slow",
        data={"train": {"source": f"pvc://{DATA_CLAIM}/long.csv"}, "validation": {"fraction": 0.2}},
        parameters=[{"name": name, "categorical": {"choices": [value]}} for name, value in values.items()],
        trials={"max": 1, "parallel": 1},
        trainer={"resources": {"limits": {"cpu": "1"}}, "terminationGracePeriodSeconds": GRACE_SECONDS},
    )
    kube.create(body, namespace)
    trials = Trials(kube, namespace, "slow")
    attempt = wait_until(trials.training, kube, namespace, 300)
    pod = kube.get("Pod", owner(attempt), namespace)
    assert pod is not None
    machine.throttle(pod, cores=0.1)

    asked = datetime.now()  # noqa: DTZ005 - as Optuna writes it
    kube.patch("AutoGLMStudy", "slow", namespace, {"spec": {"suspend": True}})
    wait_for(lambda: trials.attempts()[attempt.number].state.is_finished(), 60)
    released = trials.attempts()[attempt.number]
    assert released.user_attrs[TrialAttribute.CAUSE] == Cause.RELEASED
    assert released.datetime_complete is not None
    assert (released.datetime_complete - asked).total_seconds() < GRACE_SECONDS + 2
    assert released.last_step == attempt.last_step, "it was not in the middle of a step"
    # A kubelet that has missed the container's end clears up after it once a minute.
    wait_until(lambda: kube.pod_phase(namespace, owner(attempt)) is None, kube, namespace, 180)

    kube.patch("AutoGLMStudy", "slow", namespace, {"spec": {"suspend": False}})
    wait_until_searched(kube, namespace, "slow", 480)
    trials.assert_exact(1)
    (retry,) = trials.complete()
    assert retry.user_attrs[TrialAttribute.RETRY_OF] == attempt.number
    assert retry.params == attempt.params
    release.check_operator()


@pytest.mark.parametrize(
    ("reason", "trainer", "words"),
    [
        ("ImagePull", {"image": "nobody/nothing:1"}, "nobody/nothing:1"),
        ("Unschedulable", {"pod": {"nodeSelector": {"accelerator": "none-such"}}}, "node"),
        ("Unschedulable", {"resources": {"limits": {"memory": "9000Gi"}}}, "memory"),
    ],
    ids=["image that is not there", "label that no node has", "more memory than any node has"],
)
def test_workers_that_cannot_start_say_why(
    kube: Kube, release: Release, namespace: str, reason: str, trainer: dict[str, object], words: str
) -> None:
    body = small_study("stuck", trainer=trainer, data={"train": {"source": "s3://nowhere/train.csv"}})
    body["spec"]["model"] = {"source": "package://nowhere"}
    kube.create(body, namespace)
    said = wait_for_reason(kube, namespace, "stuck", "Stalled", reason, timeout_seconds=90)
    assert words in said["message"]
    release.check_operator()
