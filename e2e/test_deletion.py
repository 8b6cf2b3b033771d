"""Deleting a study in the middle of its run: the cluster is clean, and its results are kept or dropped as it says."""

from __future__ import annotations

import psycopg
import pytest
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import put_rows, study
from e2e.trials import Trials, admin_url, files_in_claim, wait_until

from autoglm_api.names import ARTIFACTS_CLAIM, FINALIZER

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_deleted_study_leaves_nothing_running_and_what_its_policy_says(
    installation: Installation, kube: Kube, namespace: str, policy: str
) -> None:
    put_rows(kube, namespace)
    body = study("gone", deletionPolicy=policy, trials={"max": 500, "parallel": 2})
    uid = kube.create(body, namespace)["metadata"]["uid"]
    trials = Trials(kube, namespace, "gone")
    wait_until(lambda: len(trials.complete()) >= 2, kube, namespace)
    live = kube.get("AutoGLMStudy", "gone", namespace) or {}
    assert (FINALIZER in live["metadata"].get("finalizers", [])) == (policy == "Delete")
    folder = f"{namespace}/{uid}"
    assert files_in_claim(kube, namespace, ARTIFACTS_CLAIM, folder)

    kube.delete("AutoGLMStudy", "gone", namespace)
    wait_until(lambda: kube.get("AutoGLMStudy", "gone", namespace) is None, kube, namespace)
    wait_for(lambda: kube.list("Job", namespace) == [], 60, state=lambda: kube.describe(namespace))
    selector = f"autoglm.io/study-uid={uid}"
    wait_for(lambda: kube.list("Pod", namespace, selector) == [], 60, state=lambda: kube.describe(namespace))

    with psycopg.connect(admin_url(installation.postgres, namespace)) as connection:
        studies = connection.execute("SELECT study_name FROM studies").fetchall()
    kept = [(f"{namespace}/gone/{uid}",)] if policy == "Retain" else []
    assert studies == kept
    assert bool(files_in_claim(kube, namespace, ARTIFACTS_CLAIM, folder)) == (policy == "Retain")
    installation.check_operator()
