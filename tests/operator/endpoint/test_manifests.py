"""Goldens of what an endpoint creates, and the rules that a golden alone would not say."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autoglm_api.endpoint import EndpointSpec
from autoglm_api.environment import DEFAULT_SECRETS_ROOT
from autoglm_api.names import ANNOTATION_CANDIDATE, ANNOTATION_CHAMPION, ANNOTATION_MANIFEST
from autoglm_api.parts import SecretRef
from autoglm_api.status import ServedModel
from autoglm_operator.endpoint.manifests import cleanup_job, copy_job, server_deployment, server_service
from autoglm_operator.endpoint.observation import Candidate, Endpoint, Record
from autoglm_operator.kube import Object
from autoglm_operator.settings import Settings
from autoglm_serving.prompting import SECRET

GOLDEN = Path(__file__).parent / "golden"
DIGEST = "sha256:" + "0123456789abcdef" * 4
SINCE = datetime(2026, 11, 1, 12, tzinfo=UTC)
ENDPOINT = Endpoint(namespace="team", name="sentiment", uid="11111111-2222", generation=1, resource_version="1")
SETTINGS = Settings(serving_image="autoglm-serving:test", artifacts_uri="pvc://autoglm-artifacts")
RICH = EndpointSpec.model_validate(
    {
        "source": {"studySelector": {"matchLabels": {"app": "sentiment"}}},
        "replicas": 2,
        "image": "mine:1",
        "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": 2, "memory": "1Gi"}},
        "serviceAccountName": "server",
        "artifacts": {"uri": "s3://models/live", "secretRef": {"name": "s3"}},
        "pod": {
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "env": [{"name": "HOME", "value": "/elsewhere"}, {"name": "TEAM", "value": "nlp"}],
            "labels": {"team": "nlp"},
            "imagePullSecrets": [{"name": "registry"}],
        },
    }
)
PLAIN = EndpointSpec.model_validate({"source": {"study": "intents"}})


def record(spec: EndpointSpec) -> Record:
    root = spec.artifacts.uri if spec.artifacts else SETTINGS.artifacts_uri
    uri = f"{root}/team/endpoints/sentiment/{DIGEST[7:]}"
    model = ServedModel(
        digest=DIGEST, uri=uri, study="intents", trial=7, metric="f1_macro", direction="Maximize", value=0.9
    )
    return Record(model=model, secret="s3" if spec.artifacts else None)


def deployment(spec: EndpointSpec = RICH, role: str = ANNOTATION_CHAMPION, replicas: int = 2) -> Object:
    return server_deployment(ENDPOINT, spec, record(spec), replicas=replicas, role=role, since=SINCE, settings=SETTINGS)


def candidate(uri: str, secret: str | None) -> Candidate:
    return Candidate(model=record(RICH).model.model_copy(update={"uri": uri}), metrics={}, secret=secret)


def copied(spec: EndpointSpec, uri: str, secret: str | None) -> Object:
    return copy_job(ENDPOINT, spec, candidate(uri, secret), record(spec), SETTINGS)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("deployment-plain", deployment(PLAIN)),
        ("deployment-rich", deployment(RICH)),
        ("service", server_service(ENDPOINT, DIGEST)),
        ("copy-job-claims", copied(PLAIN, "pvc://team-claim/intents/export", None)),
        ("copy-job-s3", copied(RICH, "s3://studies/intents/export", "study-s3")),
        ("cleanup-job", cleanup_job(ENDPOINT, RICH, SETTINGS)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_manifest_is_the_golden_one(name: str, body: Object) -> None:
    path = GOLDEN / f"{name}.json"
    text = json.dumps(body, indent=1, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), "make golden rewrites it"


@pytest.mark.parametrize(
    ("task", "spec", "image"),
    [
        ("text-generation", PLAIN, SETTINGS.serving_generation_image),
        ("text-classification", PLAIN, SETTINGS.serving_image),
        ("text-generation", RICH, "mine:1"),
        ("a-plug-in-that-is-not-here", PLAIN, SETTINGS.serving_image),
        (None, PLAIN, SETTINGS.serving_image),
    ],
)
def test_servers_have_pytorch_where_the_model_s_task_needs_it(task: str | None, spec: EndpointSpec, image: str) -> None:
    known = record(spec)
    model = known.model.model_copy(update={"task": task})
    told = known.model_copy(update={"model": model})
    body = server_deployment(ENDPOINT, spec, told, replicas=1, role=ANNOTATION_CHAMPION, since=SINCE, settings=SETTINGS)
    assert [one["image"] for one in body["spec"]["template"]["spec"]["containers"]] == [image]


@pytest.mark.parametrize(
    "body",
    [deployment(PLAIN), deployment(RICH), copied(RICH, "s3://b/x/y", None), cleanup_job(ENDPOINT, RICH, SETTINGS)],
)
def test_pods_are_restricted_and_hold_no_token(body: Object) -> None:
    pod = body["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "runAsUser" not in pod["securityContext"] | container["securityContext"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_the_pods_do_not_depend_on_the_role_or_the_number_of_replicas() -> None:
    champion, other = deployment(), deployment(role=ANNOTATION_CANDIDATE, replicas=0)
    assert champion["spec"]["template"] == other["spec"]["template"]
    hashes = {body["metadata"]["annotations"][ANNOTATION_MANIFEST] for body in (champion, other)}
    assert len(hashes) == 2


def test_the_service_selects_the_servers_and_not_the_copy_job() -> None:
    selector = server_service(ENDPOINT, DIGEST)["spec"]["selector"].items()
    servers = deployment()
    assert selector <= servers["spec"]["template"]["metadata"]["labels"].items()
    assert servers["spec"]["selector"]["matchLabels"].items() == selector
    assert not selector <= copied(RICH, "s3://b/x/y", None)["spec"]["template"]["metadata"]["labels"].items()


def test_every_variable_is_given_once_and_ours_wins() -> None:
    env = deployment()["spec"]["template"]["spec"]["containers"][0]["env"]
    names = [entry["name"] for entry in env]
    assert len(names) == len(set(names))
    assert {"name": "HOME", "value": "/tmp/home"} in env
    assert {"name": "TEAM", "value": "nlp"} in env


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}, "limits.cpu"),
        ({"requests": {"cpu": "1"}}, "requests.cpu"),
        ({}, "1"),
    ],
)
def test_threads_come_from_the_pods_own_cpu_and_never_from_the_nodes(
    resources: dict[str, object], expected: str
) -> None:
    spec = RICH.model_copy(update={"resources": type(RICH.resources).model_validate(resources)})
    env = deployment(spec)["spec"]["template"]["spec"]["containers"][0]["env"]
    (found,) = [entry for entry in env if entry["name"] == "AUTOGLM_CPU_LIMIT"]
    assert found.get("value") == expected or found["valueFrom"]["resourceFieldRef"]["resource"] == expected


def test_a_model_at_another_place_keeps_the_secret_it_was_copied_with() -> None:
    moved = RICH.model_copy(update={"artifacts": None})
    body = server_deployment(
        ENDPOINT, moved, record(RICH), replicas=1, role=ANNOTATION_CHAMPION, since=SINCE, settings=SETTINGS
    )
    assert {"secretName": "s3"} in [volume.get("secret") for volume in body["spec"]["template"]["spec"]["volumes"]]


def test_the_key_of_an_endpoint_is_mounted_where_the_server_reads_it() -> None:
    spec = RICH.model_copy(update={"model_secret_ref": SecretRef(name="llm")})
    pod = deployment(spec)["spec"]["template"]["spec"]
    assert {"secretName": "llm"} in [volume.get("secret") for volume in pod["volumes"]]
    paths = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
    assert f"{DEFAULT_SECRETS_ROOT}/{SECRET}" in paths


def test_the_drain_fits_into_the_grace_period() -> None:
    pod = deployment()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    pre_stop = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    linger, finish = 3, 30
    assert pre_stop + linger + finish < pod["terminationGracePeriodSeconds"]
