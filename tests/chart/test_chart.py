"""The chart as people use it: every kind of installation renders, and what is rendered is what was asked for."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import helm_python
import pytest
from docs.reference.generate import VALUES, described_values, pages
from ruamel.yaml import YAML
from tests.chart.rendering import CHART, EXTERNAL, NAMESPACE, ROOT, Object, files, one, render, select

MONITOR = "monitoring.coreos.com/v1/ServiceMonitor"
INSTALLATIONS: dict[str, Object] = {
    "default": {},
    "external database": EXTERNAL,
    "namespaced": {"watchNamespaces": ["team-a", "team-b"], "crds": {"enabled": False}},
    "mirror": {"images": {"registry": "registry.example:5000/mirror", "pullSecrets": ["registry"]}},
    "restricted platform": {"pods": {"fsGroup": None}, "database": {"bundled": {"userId": None}}},
    "own accounts": {"serviceAccount": {"create": False, "name": "own"}, "rbac": {"create": False}},
    "no volume": {"database": {"bundled": {"persistence": {"enabled": False}, "clusterIP": "10.0.0.7"}}},
    "scheduling": {"operator": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}},
}
installations = pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)


@installations
def test_every_installation_lints_and_renders(values: Object) -> None:
    report = helm_python.lint(CHART, values, strict=True, namespace=NAMESPACE)
    assert report["errors"] == []
    assert [each for each in report["messages"] if each["severity"] > 1] == []
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in render(values)]
    assert len(names) == len(set(names))


def test_default_rendering_is_the_golden_file() -> None:
    texts = {path: text for path, text in sorted(files().items()) if path.endswith(".yaml") and "crds" not in path}
    texts = {path: re.sub(r"(password): \w+=*", r"\1: <made at installation>", text) for path, text in texts.items()}
    joined = "".join(f"# {path}\n{text.strip()}\n---\n" for path, text in texts.items() if text.strip())
    golden = Path(__file__).with_name("golden") / "default.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(joined)
    assert joined == golden.read_text(), "look at the difference, then `make golden`"


def test_the_charts_crds_are_the_source() -> None:
    copies = {path.name: path.read_text() for path in (CHART / "files/crds").iterdir()}
    assert copies == {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}, "run `make reference`"
    rendered = {each["metadata"]["name"]: each for each in select(render(), "CustomResourceDefinition")}
    for text in copies.values():
        source = YAML(typ="safe").load(text)
        crd = rendered[source["metadata"]["name"]]
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert crd == source


def test_servers_that_do_not_know_cel_get_crds_without_it() -> None:
    """Helm refuses to send a field that the API server does not know."""
    crds = {
        version: select(render(kube_version=version), "CustomResourceDefinition") for version in ("v1.20.2", "v1.25.0")
    }
    assert "x-kubernetes-validations" not in str(crds["v1.20.2"])
    assert str(crds["v1.25.0"]).count("x-kubernetes-validations") > 20

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(child) for key, child in value.items() if key != "x-kubernetes-validations"}
        return [without(child) for child in value] if isinstance(value, list) else value

    assert crds["v1.20.2"] == without(crds["v1.25.0"])


def test_a_plug_in_s_tasks_are_let_in_beside_our_own() -> None:
    def tasks(values: Object | None = None) -> list[str]:
        crds = {each["metadata"]["name"]: each for each in select(render(values), "CustomResourceDefinition")}
        (version,) = crds["autoglmstudies.autoglm.io"]["spec"]["versions"]
        return list(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["task"]["enum"])

    assert tasks({"crds": {"extraTasks": ["sorting", "auto"]}}) == [*tasks(), "sorting"]


def test_a_plug_in_s_stores_are_let_in_wherever_s3_is() -> None:
    plain, extended = (
        str(select(render(values), "CustomResourceDefinition"))
        for values in (None, {"crds": {"extraStores": ["az", "oss"]}})
    )
    assert extended == plain.replace("s3|gs|file|pvc", "s3|gs|az|oss|file|pvc") != plain


def test_crds_can_be_left_out_or_given_up() -> None:
    assert select(render({"crds": {"enabled": False}}), "CustomResourceDefinition") == []
    given_up = select(render({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert [each["metadata"].get("annotations") for each in given_up] == [None, None]
    assert "deletes all studies" in files({"crds": {"keep": False}})["NOTES.txt"]


def test_pages_are_current() -> None:
    for path, text in pages().items():
        assert path.read_text() == text, f"{path.name}: run `make reference`"


def test_every_value_is_described() -> None:
    described = {path for path, _ in described_values(VALUES.read_text())}

    def undescribed(value: Any, path: str = "") -> list[str]:
        if path in described:
            return []
        if not isinstance(value, dict) or not value:
            return [path]
        return [found for key in value for found in undescribed(value[key], f"{path}.{key}".lstrip("."))]

    assert undescribed(YAML(typ="safe").load(VALUES)) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"watchNamespace": ["a"]}, "watchNamespace"),
        ({"watchNamespaces": "team-a"}, "watchNamespaces"),
        ({"watchNamespaces": ["Team A"]}, "Team A"),
        ({"images": {"operator": {"tag": "a b"}}}, "tag"),
        ({"images": {"trainer": {"digest": "sha256:12"}}}, "digest"),
        ({"operator": {"log": {"level": "VERBOSE"}}}, "level"),
        ({"crds": {"extraTasks": ["My Task"]}}, "extraTasks"),
        ({"operator": {"settings": {"polSeconds": 1}}}, "polSeconds"),
        ({"operator": {"settings": {"pollSeconds": 0}}}, "pollSeconds"),
        ({"operator": {"extraEnv": [{"name": "AUTOGLM_OPERATOR_DATABASE_URL", "value": "x"}]}}, "extraEnv"),
        ({"operator": {"resources": {"limits": {"memory": "lots"}}}}, "memory"),
        ({"artifacts": {"uri": "/srv/models"}}, "uri"),
        ({"artifacts": {"claim": {"accessMode": "ReadOnlyMany"}}}, "accessMode"),
        ({"database": {"bundled": {"maxConnections": 1}}}, "maxConnections"),
        ({"database": {"bundled": {"enabled": False}}}, "no database"),
    ],
    ids=str,
)
def test_bad_values_are_refused_by_name(values: Object, words: str) -> None:
    with pytest.raises(helm_python.HelmError, match=words):
        render(values)


def test_one_prefix_moves_every_image() -> None:
    objects = render({"images": {"registry": "registry.example:5000/mirror/", "pullSecrets": ["registry"]}})
    for pod in _pods(objects):
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        for container in pod["containers"]:
            assert container["image"].startswith("registry.example:5000/mirror/")


def test_a_digest_wins_over_the_tag() -> None:
    digest = "sha256:" + "0" * 64
    image = {"repository": "autoglm-operator", "tag": "1", "digest": digest}
    objects = render({"images": {"operator": image}})
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"autoglm-operator@{digest}"


@installations
def test_pods_are_as_restricted_as_the_restricted_standard_asks(values: Object) -> None:
    pods = _pods(render(values))
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]
            assert {"requests", "limits"} <= set(container["resources"])
            assert "command" not in container, "the images' entry points are exec form, and process 1"


def test_no_user_is_named_where_the_platform_assigns_them() -> None:
    objects = render({"pods": {"fsGroup": None}, "database": {"bundled": {"userId": None}}})
    for pod in _pods(objects):
        assert {"runAsUser", "fsGroup"}.isdisjoint(pod["securityContext"])


def test_an_external_database_replaces_the_bundled_one() -> None:
    objects = render(EXTERNAL)
    assert select(objects, "StatefulSet") == select(objects, "Secret") == []
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    url = next(entry for entry in container["env"] if entry["name"] == "AUTOGLM_OPERATOR_DATABASE_URL")
    assert url["valueFrom"] == {"secretKeyRef": {"name": "own", "key": "url"}}


def test_a_password_of_ones_own_is_used_and_none_is_made() -> None:
    objects = render({"database": {"bundled": {"passwordSecret": {"name": "mine", "key": "pw"}}}})
    assert select(objects, "Secret") == []
    for kind in ("Deployment", "StatefulSet"):
        (container,) = one(objects, kind)["spec"]["template"]["spec"]["containers"]
        reference = next(entry for entry in container["env"] if entry["name"] == "POSTGRES_PASSWORD")
        assert reference["valueFrom"] == {"secretKeyRef": {"name": "mine", "key": "pw"}}


def test_the_operator_runs_once_and_stops_before_its_successor_starts() -> None:
    spec = one(render(), "Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_uninstalling_removes_finalizers_unless_told_otherwise() -> None:
    job = one(render({"watchNamespaces": ["team-a"]}), "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == [
        "remove-finalizers",
        f"--deployment={NAMESPACE}/autoglm",
        "--namespace=team-a",
    ]
    assert select(render({"uninstall": {"removeFinalizers": False}}), "Job") == []


def test_a_service_monitor_needs_the_value_and_the_kind() -> None:
    wanted = {"metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}}
    assert select(render(api_versions=[MONITOR]), "ServiceMonitor") == []
    assert select(render(wanted), "ServiceMonitor") == []
    assert "no ServiceMonitor was created" in files(wanted)["NOTES.txt"]
    objects = render(wanted, api_versions=[MONITOR])
    monitor = one(objects, "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    service = one(objects, "Service", "autoglm")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def _pods(objects: list[Object]) -> list[Object]:
    return [each["spec"]["template"]["spec"] for each in objects if "template" in each.get("spec", {})]
