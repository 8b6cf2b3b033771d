"""The harness itself: what the other tests of this tier take for granted about pods, Services, volumes and RBAC."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from e2e.cluster.cluster import Cluster
from e2e.cluster.kubelet import Kubelet
from e2e.kube import Kube, wait_for
from kubernetes.client.exceptions import ApiException

Json = dict[str, Any]
WEB_SERVER = """
import http.server, os, pathlib, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path != '/ready' or pathlib.Path('/tmp/ready').exists() else 503)
        self.end_headers()
        self.wfile.write(os.environ['HOSTNAME'].encode())
    def log_message(self, *_): pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer(('', 8000), Handler).serve_forever()
"""


def pod(name: str, script: str, **container: Any) -> Json:
    """A pod of one shell container; `container` overrides its fields."""
    spec: Json = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5}
    main: Json = {"name": "main", "image": "debian:12", "command": ["sh", "-c", script], **container}
    spec["containers"] = [main]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def terminated(kube: Kube, namespace: str, name: str) -> Json:
    """Waits until the pod's container is over and returns its terminated state."""

    def state() -> Json:
        return dict(kube.container_status(namespace, name).get("state", {}).get("terminated", {}))

    return wait_for(state, state=lambda: kube.describe(namespace))


def deployment(name: str, image: str, script: str, *, ready_path: str, version: str = "1") -> Json:
    """Two replicas of a Python script behind a readiness probe."""
    probe = {"httpGet": {"path": ready_path, "port": "http"}, "periodSeconds": 1}
    container: Json = {"name": "web", "image": image, "args": ["-c", script], "readinessProbe": probe}
    container |= {"ports": [{"name": "http", "containerPort": 8000}], "env": [{"name": "VERSION", "value": version}]}
    template: Json = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def service(name: str) -> Json:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def test_job_completes_and_its_log_is_readable(kube: Kube, namespace: str) -> None:
    template = {"spec": pod("", "echo hello; echo mistake >&2")["spec"]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "greet"}, "spec": {"template": template}}
    kube.create(job, namespace)

    wait_for(lambda: (kube.get("Job", "greet", namespace) or {})["status"].get("succeeded") == 1)

    [done] = kube.list("Pod", namespace, "job-name=greet")
    assert done["status"]["phase"] == "Succeeded"
    assert kube.logs(namespace, done["metadata"]["name"]) == "hello\nmistake\n"


def test_service_account_is_forbidden_what_no_role_allows(
    cluster: Cluster, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "reader"}, "rules": rules}
    binding: Json = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": "reader"}}
    binding["roleRef"] = {"apiGroup": group, "kind": "Role", "name": "reader"}
    binding["subjects"] = [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}]
    for body in (account, role, binding):
        kube.create(body, namespace)

    reader = Kube(kube.service_account_kubeconfig(namespace, "reader", tmp_path / "reader"))

    wait_for(lambda: reader.list("ConfigMap", namespace))
    with pytest.raises(ApiException) as refused:
        reader.list("Secret", namespace)
    assert refused.value.status == 403
    with pytest.raises(ApiException) as refused:
        reader.list("ConfigMap", "default")
    assert refused.value.status == 403
    if cluster.plane:
        refusals = cluster.plane.refused_requests(f"system:serviceaccount:{namespace}:reader")
        assert f"list /api/v1/namespaces/{namespace}/secrets" in refusals


def test_pod_reaches_the_api_with_its_own_service_account(kube: Kube, namespace: str) -> None:
    script = """
import json, os, ssl, urllib.error, urllib.request
folder = '/var/run/secrets/kubernetes.io/serviceaccount'
request = urllib.request.Request('https://kubernetes.default.svc/api/v1/namespaces/default/secrets')
request.add_header('Authorization', 'Bearer ' + open(folder + '/token').read())
try:
    urllib.request.urlopen(request, context=ssl.create_default_context(cafile=folder + '/ca.crt'))
except urllib.error.HTTPError as error:
    print(error.code, json.load(error)['message'])
"""
    kube.create(pod("caller", "", image="python:3.11", command=["python3", "-c", script]), namespace)

    assert terminated(kube, namespace, "caller")["exitCode"] == 0
    answer = kube.logs(namespace, "caller")
    assert answer.startswith(f'403 secrets is forbidden: User "system:serviceaccount:{namespace}:default"')


def test_environment_resolves_every_kind_of_reference(kube: Kube, namespace: str) -> None:
    metadata = {"name": "settings"}
    kube.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"A": "a", "B": "b"}}, namespace
    )
    kube.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": "s3cret"}}, namespace
    )
    references: list[Json] = [
        {"name": "PLAIN", "value": "x"},
        {"name": "EXPANDED", "value": "$(PLAIN)-$(A)-$$(PLAIN)-$(UNKNOWN)"},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "settings", "key": "key"}}},
        {"name": "CONFIG", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "B"}}},
        {"name": "ABSENT", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "B", "optional": True}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MEBIBYTES", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    body = pod("env", "", command=["env"], args=[], env=references)
    body["metadata"]["labels"] = {"team": "nlp"}
    body["spec"]["containers"][0] |= {
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "resources": {"limits": {"cpu": "1500m", "memory": "2Gi"}},
    }
    kube.create(body, namespace)

    terminated(kube, namespace, "env")
    seen = dict(line.split("=", 1) for line in kube.logs(namespace, "env").splitlines())
    address = (kube.get("Pod", "env", namespace) or {})["status"]["podIP"]
    assert seen["EXPANDED"] == "x-a-$(PLAIN)-$(UNKNOWN)"
    assert "ABSENT" not in seen
    expected = {"SECRET": "s3cret", "CONFIG": "b", "NAME": "env", "ADDRESS": address, "LABEL": "nlp", "CPUS": "2"}
    assert {name: seen[name] for name in expected} == expected
    assert seen["MEBIBYTES"] == "2048"


def test_claim_is_shared_between_pods_and_outlives_them(kube: Kube, namespace: str) -> None:
    claim: Json = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}}
    claim["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    kube.create(claim, namespace)
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    mounts = [{"name": "data", "mountPath": "/models/shared"}]
    identity = {"runAsUser": 100731, "runAsNonRoot": True, "fsGroup": 100731}

    writer = pod("writer", "id -u >/models/shared/who", volumeMounts=mounts)
    writer["spec"] |= {"volumes": volumes, "securityContext": identity}
    kube.create(writer, namespace)
    assert terminated(kube, namespace, "writer")["exitCode"] == 0
    kube.delete("Pod", "writer", namespace)
    wait_for(lambda: kube.get("Pod", "writer", namespace) is None)

    read_only = [{"name": "data", "mountPath": "/models/shared", "readOnly": True}]
    reader = pod("reader", "cat /models/shared/who; touch /models/shared/x", volumeMounts=read_only)
    reader["spec"] |= {"volumes": volumes}
    kube.create(reader, namespace)
    assert terminated(kube, namespace, "reader")["exitCode"] == 1
    assert kube.logs(namespace, "reader").splitlines()[0] == "100731"
    assert "Read-only file system" in kube.logs(namespace, "reader")
    assert kube.get("PersistentVolumeClaim", "data", namespace)["status"]["phase"] == "Bound"  # type: ignore[index]


def test_restricted_container_is_confined(kube: Kube, namespace: str) -> None:
    script = """id -u; id -g; touch /x; touch /tmp/y && echo tmp; touch /dev/shm/z && echo shm
    grep -E 'Cap(Bnd|Eff)|NoNew' /proc/1/status"""
    context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 123456,
    }
    body = pod("confined", script, securityContext=context, volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}])
    body["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    kube.create(body, namespace)

    terminated(kube, namespace, "confined")
    lines = kube.logs(namespace, "confined").splitlines()
    assert lines[:2] == ["123456", "0"]
    assert "Read-only file system" in lines[2]
    assert lines[3:5] == ["tmp", "shm"]
    assert "CapBnd:\t0000000000000000" in lines
    assert "CapEff:\t0000000000000000" in lines
    assert "NoNewPrivs:\t1" in lines


def test_sigterm_grace_and_exit_code_are_as_on_a_node(kube: Kube, namespace: str) -> None:
    patient = (
        "trap 'echo term; sleep 1; echo bye >/dev/termination-log; exit 75' TERM; echo up; while :; do sleep 0.1; done"
    )
    body = pod("patient", patient)
    body["metadata"]["finalizers"] = ["autoglm.io/test"]  # so that its end can be seen
    kube.create(body, namespace)
    wait_for(lambda: "up" in kube.logs(namespace, "patient"))
    kube.delete("Pod", "patient", namespace)

    state = terminated(kube, namespace, "patient")
    assert (state["exitCode"], state["message"]) == (75, "bye\n")
    kube.patch("Pod", "patient", namespace, {"metadata": {"finalizers": None}})
    wait_for(lambda: kube.get("Pod", "patient", namespace) is None)


def test_process_that_ignores_sigterm_is_killed_after_its_grace(kube: Kube, namespace: str) -> None:
    body = pod("stubborn", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    body["spec"]["terminationGracePeriodSeconds"] = 3
    kube.create(body, namespace)
    wait_for(lambda: "up" in kube.logs(namespace, "stubborn"))

    asked = time.monotonic()
    kube.delete("Pod", "stubborn", namespace)
    wait_for(lambda: kube.get("Pod", "stubborn", namespace) is None, 15)
    assert time.monotonic() - asked > 2.5


def test_forced_deletion_kills_at_once(kube: Kube, kubelet: Kubelet, namespace: str) -> None:
    kube.create(pod("stubborn", "trap '' TERM; echo up; while :; do sleep 0.1; done"), namespace)
    wait_for(lambda: "up" in kube.logs(namespace, "stubborn"))
    first = kubelet.processes(namespace, "stubborn")[0]

    kube.delete("Pod", "stubborn", namespace, grace_seconds=0)

    wait_for(lambda: not Path(f"/proc/{first}").exists(), 3)


def test_pre_stop_hook_runs_before_sigterm(kube: Kube, kubelet: Kubelet, namespace: str) -> None:
    script = "trap 'cat /tmp/hook; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "sleep 1; echo $GREETING >/tmp/hook"]}}}
    kube.create(pod("hooked", script, lifecycle=hook, env=[{"name": "GREETING", "value": "hooked"}]), namespace)
    wait_for(lambda: "up" in kube.logs(namespace, "hooked"))

    kube.delete("Pod", "hooked", namespace)

    wait_for(lambda: kube.get("Pod", "hooked", namespace) is None)
    assert kubelet.logs(namespace, "hooked") == "up\nhooked\n"


def test_init_containers_run_in_order_and_share_volumes(kube: Kube, namespace: str) -> None:
    mounts = [{"name": "work", "mountPath": "/work"}]
    body = pod("staged", "cat /work/steps", volumeMounts=mounts)
    body["spec"]["volumes"] = [{"name": "work", "emptyDir": {}}]
    body["spec"]["initContainers"] = [
        {
            "name": name,
            "image": "busybox",
            "volumeMounts": mounts,
            "command": ["sh", "-c", f"echo {name} >>/work/steps"],
        }
        for name in ("first", "second")
    ]
    kube.create(body, namespace)

    terminated(kube, namespace, "staged")
    assert kube.logs(namespace, "staged") == "first\nsecond\n"


def test_failed_init_container_fails_the_pod(kube: Kube, namespace: str) -> None:
    body = pod("broken", "echo never")
    body["spec"]["initContainers"] = [{"name": "init", "image": "busybox", "command": ["sh", "-c", "exit 3"]}]
    kube.create(body, namespace)

    wait_for(lambda: kube.pod_phase(namespace, "broken") == "Failed")
    [init] = (kube.get("Pod", "broken", namespace) or {})["status"]["initContainerStatuses"]
    assert init["state"]["terminated"]["exitCode"] == 3


def test_crashing_container_is_restarted_with_back_off(kube: Kube, namespace: str) -> None:
    body = pod("crashing", "echo try; exit 1")
    body["spec"]["restartPolicy"] = "Always"
    kube.create(body, namespace)

    wait_for(lambda: kube.container_status(namespace, "crashing").get("restartCount", 0) >= 2)
    status = kube.container_status(namespace, "crashing")
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert kube.pod_phase(namespace, "crashing") == "Running"
    assert kube.logs(namespace, "crashing", previous=True) == "try\n"


def test_image_that_nobody_has_shows_a_pull_error(kube: Kube, namespace: str) -> None:
    kube.create(pod("lost", "", image="registry.example/none:1"), namespace)

    def reason() -> Json:
        waiting: Json = kube.container_status(namespace, "lost").get("state", {}).get("waiting", {})
        return waiting if waiting.get("reason") == "ImagePullBackOff" else {}

    assert "registry.example/none:1" in wait_for(reason)["message"]
    assert kube.pod_phase(namespace, "lost") == "Pending"


def test_pod_that_fits_no_node_is_unschedulable_until_there_is_room(
    kube: Kube, kubelet: Kubelet, namespace: str
) -> None:
    gpus = {"limits": {"nvidia.com/gpu": "8"}}
    kube.create(pod("first", "sleep 60 & wait", resources=gpus), namespace)
    wait_for(lambda: kube.pod_phase(namespace, "first") == "Running")
    kube.create(pod("second", "true", resources=gpus), namespace)

    def condition() -> Json | None:
        conditions = (kube.get("Pod", "second", namespace) or {}).get("status", {}).get("conditions") or [{}]
        return conditions[0] if conditions[0].get("reason") == "Unschedulable" else None

    assert "Insufficient nvidia.com/gpu" in (wait_for(condition) or {})["message"]
    kube.delete("Pod", "first", namespace, grace_seconds=0)
    wait_for(lambda: kube.pod_phase(namespace, "second") == "Succeeded")


def test_readiness_decides_what_a_service_reaches(
    cluster: Cluster, kube: Kube, kubelet: Kubelet, namespace: str
) -> None:
    kube.create(deployment("web", "python:3.11", WEB_SERVER, ready_path="/ready"), namespace)
    kube.create(service("web"), namespace)
    wait_for(
        lambda: (
            [kube.pod_phase(namespace, each["metadata"]["name"]) for each in kube.list("Pod", namespace)]
            == ["Running"] * 2
        )
    )
    assert cluster.ready_addresses(namespace, "web") == []

    first, second = sorted(each["metadata"]["name"] for each in kube.list("Pod", namespace))
    assert kubelet.execute(namespace, first, ["touch", "/tmp/ready"])[0] == 0
    wait_for(lambda: len(cluster.ready_addresses(namespace, "web")) == 1)
    url = cluster.service_url(namespace, "web")
    assert {urlopen(url, timeout=5).read().decode() for _ in range(4)} == {first}

    assert kubelet.execute(namespace, second, ["touch", "/tmp/ready"])[0] == 0
    wait_for(lambda: len(cluster.ready_addresses(namespace, "web")) == 2)
    assert wait_for(lambda: {urlopen(url, timeout=5).read().decode() for _ in range(9)} == {first, second})

    kubelet.execute(namespace, first, ["rm", "/tmp/ready"])
    wait_for(lambda: len(cluster.ready_addresses(namespace, "web")) == 1)


def test_rollout_replaces_pods_without_losing_the_service(cluster: Cluster, kube: Kube, namespace: str) -> None:
    kube.apply(deployment("web", "python:3.11", WEB_SERVER, ready_path="/"), namespace)
    kube.apply(service("web"), namespace)

    def rolled_out(generation: int) -> bool:
        status = (kube.get("Deployment", "web", namespace) or {})["status"]
        counts = {status.get(name) for name in ("replicas", "updatedReplicas", "availableReplicas")}
        return status.get("observedGeneration", 0) >= generation and counts == {2}

    wait_for(lambda: rolled_out(1))
    before = {each["metadata"]["name"] for each in kube.list("Pod", namespace)}
    kube.apply(deployment("web", "python:3.11", WEB_SERVER, ready_path="/", version="2"), namespace)
    wait_for(lambda: rolled_out(2))

    wait_for(lambda: len(kube.list("Pod", namespace)) == 2)
    after = {each["metadata"]["name"] for each in kube.list("Pod", namespace)}
    assert not before & after
    assert wait_for(lambda: urlopen(cluster.service_url(namespace, "web"), timeout=5).read().decode()) in after


def test_pods_reach_a_service_by_name(kube: Kube, namespace: str) -> None:
    kube.create(deployment("web", "python:3.11", WEB_SERVER, ready_path="/"), namespace)
    kube.create(service("web"), namespace)
    fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
    for number, host in enumerate(("web", f"web.{namespace}", f"web.{namespace}.svc.cluster.local")):
        caller = pod(f"caller-{number}", "", image="python:3.11", command=["python3", "-c", fetch, f"http://{host}"])
        caller["spec"]["restartPolicy"] = "OnFailure"
        kube.create(caller, namespace)
        wait_for(lambda name=f"caller-{number}": kube.pod_phase(namespace, name) == "Succeeded")  # type: ignore[misc]
        assert kube.logs(namespace, f"caller-{number}").startswith("web-")


def test_liveness_probe_restarts_a_hanging_container(kube: Kube, namespace: str) -> None:
    probe = {"exec": {"command": ["test", "!", "-e", "/tmp/hangs"]}, "periodSeconds": 1, "failureThreshold": 2}
    body = pod(
        "hanging", "trap 'exit 0' TERM; sleep 1; touch /tmp/hangs; while :; do sleep 0.1; done", livenessProbe=probe
    )
    body["spec"]["restartPolicy"] = "Always"
    kube.create(body, namespace)

    wait_for(lambda: kube.container_status(namespace, "hanging").get("restartCount", 0) >= 1)


def test_stopped_pod_makes_no_progress_until_continued(kube: Kube, kubelet: Kubelet, namespace: str) -> None:
    kube.create(pod("ticking", "while :; do echo tick; sleep 0.05; done"), namespace)
    wait_for(lambda: kube.logs(namespace, "ticking"))

    kubelet.signal(namespace, "ticking", signal.SIGSTOP)
    stopped = kube.logs(namespace, "ticking")
    for _ in range(5):
        assert kube.logs(namespace, "ticking") == stopped
    kubelet.signal(namespace, "ticking", signal.SIGCONT)
    wait_for(lambda: len(kube.logs(namespace, "ticking")) > len(stopped))

    kubelet.signal(namespace, "ticking", signal.SIGKILL)
    state = terminated(kube, namespace, "ticking")
    assert (state["exitCode"], state["reason"]) == (137, "Error")


def test_out_of_memory_and_eviction_show_their_reasons(kube: Kube, kubelet: Kubelet, namespace: str) -> None:
    for name in ("greedy", "evicted"):
        kube.create(pod(name, "echo up; sleep 600"), namespace)
        wait_for(lambda name=name: "up" in kube.logs(namespace, name))  # type: ignore[misc]

    kubelet.oom_kill(namespace, "greedy")
    kubelet.evict(namespace, "evicted")

    state = terminated(kube, namespace, "greedy")
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")
    wait_for(lambda: kube.pod_phase(namespace, "evicted") == "Failed")
    assert (kube.get("Pod", "evicted", namespace) or {})["status"]["reason"] == "Evicted"


def test_deleting_an_owner_collects_its_dependents(kube: Kube, namespace: str) -> None:
    owner = kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}}, namespace)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    dependent = pod("dependent", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    dependent["metadata"]["ownerReferences"] = [reference]
    kube.create(dependent, namespace)
    wait_for(lambda: kube.pod_phase(namespace, "dependent") == "Running")

    kube.delete("ConfigMap", "owner", namespace)

    wait_for(lambda: kube.get("Pod", "dependent", namespace) is None)


def test_log_can_be_followed_by_kubectl(cluster: Cluster, kube: Kube, namespace: str) -> None:
    kube.create(pod("talker", "for i in 1 2 3; do echo line $i; sleep 0.2; done"), namespace)
    wait_for(lambda: kube.pod_phase(namespace, "talker") != "Pending")

    followed = cluster.run_kubectl("logs", "--follow", "--namespace", namespace, "talker")

    assert followed.stdout == "line 1\nline 2\nline 3\n", followed.stderr


def test_postgres_image_runs_a_real_server(cluster: Cluster, kube: Kube, namespace: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    data = "/var/lib/postgresql/data"
    variables = {"POSTGRES_PASSWORD": "s3cret", "PGDATA": f"{data}/pgdata"}
    environment = [{"name": name, "value": value} for name, value in variables.items()]
    body = pod("db", "", image="postgres:15", env=environment)
    del body["spec"]["containers"][0]["command"]
    body["metadata"]["labels"] = {"app": "db"}
    body["spec"] |= {"securityContext": {"runAsUser": 999, "runAsGroup": 999, "fsGroup": 999, "runAsNonRoot": True}}
    body["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    body["spec"]["containers"][0] |= {
        "volumeMounts": [{"name": "data", "mountPath": data}],
        "readinessProbe": {"tcpSocket": {"port": 5432}},
    }
    kube.create(body, namespace)
    spec = {"selector": {"app": "db"}, "ports": [{"port": 5432}]}
    kube.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": spec}, namespace)
    wait_for(lambda: kube.is_ready(namespace, "db"), state=lambda: kube.describe(namespace))
    wait_for(lambda: cluster.ready_addresses(namespace, "db"))

    url = cluster.service_url(namespace, "db", scheme="postgresql").replace("://", "://postgres:s3cret@")
    with psycopg.connect(f"{url}/postgres") as connection:
        assert connection.execute("select 1").fetchone() == (1,)
