"""Specs that cannot be: refused by the API server, or by the operator in words; and then left alone."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.cluster.cluster import Cluster
from e2e.conftest import Namespaces
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import study, wait_for_reason, workers

Json = dict[str, Any]
WINDOW_SECONDS = 5.0
ELSEWHERE = {"train": {"source": "s3://nowhere/train.csv"}}


def space(**domain: object) -> Json:
    return {"parameters": [{"name": "head_c", **domain}]}


METHOD: Json = {"name": "method", "categorical": {"choices": ["head", "lora"]}}
RANK: Json = {"name": "lora_r", "int": {"min": 4, "max": 8}}

# Newer API servers refuse some of them with the rules in the CRD, older ones leave them to the operator: what both say.
SPECS: dict[str, tuple[Json, list[str]]] = {
    "unknown field": ({"trails": {"max": 3}}, ["trails"]),
    "unknown task": ({"task": "translation"}, ["task", "translation", "text-classification"]),
    "unknown metric": (
        {"objectives": [{"metric": "f2", "direction": "Maximize"}]},
        ["objectives[0].metric", "'f2'", "f1_macro"],
    ),
    "unknown parameter": ({"parameters": [{"name": "momentum", "float": {"min": 0, "max": 1}}]}, ["momentum"]),
    "bounds reversed": (space(float={"min": 1, "max": 0.1}), ["parameters[0]", "min must not be greater than max"]),
    "log with 0": (space(float={"min": 0, "max": 1, "log": True}), ["parameters[0]", "log needs min > 0"]),
    "empty choices": ({"parameters": [{**METHOD, "categorical": {"choices": []}}]}, ["parameters", "choices"]),
    "when on an unknown parameter": ({"parameters": [{**RANK, "when": {"parameter": "mode", "in": [1]}}]}, ["when"]),
    "circular when": (
        {
            "parameters": [
                {**METHOD, "when": {"parameter": "lora_r", "in": [4]}},
                {**RANK, "when": {"parameter": "method", "in": ["lora"]}},
            ]
        },
        ["circle", "method", "lora_r"],
    ),
    "enqueued value outside": ({"parameters": [METHOD, RANK], "enqueue": [{"lora_r": 64}]}, ["enqueue[0]", "64"]),
    "no trials": ({"trials": {"max": 0}}, ["trials.max", "greater than or equal to 1"]),
    "source without scheme": ({"data": {"train": {"source": "/data/train.csv"}}}, ["data.train.source"]),
    "source that is not allowed": ({"model": {"source": "file:///etc"}}, ["model.source", "file:///etc", "hf://"]),
    "variable of ours": (
        {"trainer": {"pod": {"env": [{"name": "AUTOGLM_STUDY", "value": "x"}]}}},
        ["AUTOGLM_", "set by the operator"],
    ),
    "metadata address": (
        {"trainer": {"pod": {"env": [{"name": "PROXY", "value": "http://169.254.169.254/"}]}}},
        ["env[0].value", "169.254.169.254"],
    ),
    "host path": ({"trainer": {"pod": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}}, ["hostPath"]),
}


@pytest.fixture(scope="module")
def wrong(namespaces: Namespaces) -> Iterator[str]:
    """One namespace for all of them: invalid studies do nothing, so they do not meet."""
    name = namespaces.make()
    yield name
    namespaces.leave(name)


def invalid(name: str, changes: Json) -> Json:
    return study(name, **{"data": ELSEWHERE, **changes})


def slug(name: str) -> str:
    return name.lower().replace(" ", "-")


@pytest.mark.parametrize("name", SPECS)
def test_invalid_spec_is_refused_with_field_value_and_limit(
    installation: Installation, cluster: Cluster, kube: Kube, wrong: str, name: str
) -> None:
    changes, words = SPECS[name]
    body = json.dumps(invalid(slug(name), changes))
    applied = cluster.run_kubectl("create", "--namespace", wrong, "--filename", "-", stdin=body)
    said = applied.stderr
    if applied.returncode == 0:
        condition = wait_for_reason(kube, wrong, slug(name), "Ready", "InvalidSpec")
        assert condition["status"] == "False"
        said = condition["message"]
    assert all(word in said for word in words), said
    assert workers(kube, wrong, slug(name)) == []
    assert kube.get("Secret", "autoglm-storage", wrong) is None
    installation.check_operator()


def test_invalid_studies_are_left_alone(installation: Installation, kube: Kube, wrong: str) -> None:
    for number in range(6):
        body = invalid(f"still-{number}", {"objectives": [{"metric": "f2", "direction": "Maximize"}]})
        kube.create(body, wrong)
    for number in range(6):
        wait_for_reason(kube, wrong, f"still-{number}", "Ready", "InvalidSpec")
    wait_for(lambda: all(each["metadata"]["namespace"] == wrong for each in kube.list("AutoGLMStudy")), 60)
    before, versions = reconciles(installation), written(kube, wrong)

    time.sleep(WINDOW_SECONDS)  # the time in which nothing may happen

    assert reconciles(installation) - before <= 6
    assert written(kube, wrong) == versions
    told = [event["involvedObject"]["name"] for event in kube.list("Event", wrong) if event["reason"] == "InvalidSpec"]
    assert len(told) == len(set(told)) == len(versions)
    installation.check_operator()


def reconciles(installation: Installation) -> float:
    """How often the operator has looked at studies so far."""
    told = installation.operator.metrics()
    found = re.search(r'autoglm_reconcile_seconds_count\{kind="autoglmstudies"\} (\S+)', told)
    return float(found.group(1)) if found else 0.0


def written(kube: Kube, namespace: str) -> dict[str, str]:
    """The version of each study: it changes with every write."""
    studies = kube.list("AutoGLMStudy", namespace)
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in studies}
