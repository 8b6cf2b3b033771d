"""The harness itself: what the other tests of this tier take for granted of Jobs, RBAC, Services and volumes."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from e2e.cluster.cluster import Cluster
from e2e.cluster.kubelet import Kubelet
from e2e.cluster.network import ip
from e2e.kube import Kube, wait_for
from e2e.pods import pod, terminated
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


def deployment(name: str, image: str, script: str, *, ready_path: str, version: str = "1") -> Json:
    """Two replicas of a Python script behind a readiness probe."""
    probe = {"httpGet": {"path": ready_path, "port": "http"}, "periodSeconds": 1}
    container: Json = {"name": "web", "image": image, "command": ["python3", "-c", script], "readinessProbe": probe}
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
    # Two streams; their order is the runtime's affair.
    assert sorted(kube.logs(namespace, done["metadata"]["name"]).splitlines()) == ["hello", "mistake"]


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


def test_machine_stays_where_pods_know_it_while_others_come_and_go(
    cluster: Cluster, kube: Kube, kubelet: Kubelet, namespace: str
) -> None:
    def hardware_address() -> str:
        (bridge,) = json.loads(ip("-json", "addr", "show", "to", cluster.host_address))
        (link,) = json.loads(ip("-json", "link", "show", bridge["ifname"]))
        return str(link["address"])

    before, names = hardware_address(), [f"neighbour-{number}" for number in range(4)]
    for name in names:
        kube.create(pod(name, "true"), namespace)
    for name in names:
        terminated(kube, namespace, name)
    assert hardware_address() == before


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


def test_a_served_connection_is_closed_and_not_left_to_the_garbage_collector(
    cluster: Cluster, kube: Kube, kubelet: Kubelet, namespace: str
) -> None:
    del kubelet  # only where the Service proxy is ours, in this process
    kube.create(deployment("web", "python:3.11", WEB_SERVER, ready_path="/"), namespace)
    kube.create(service("web"), namespace)
    url = wait_for(lambda: cluster.service_url(namespace, "web"))
    wait_for(lambda: urlopen(url, timeout=5).read())

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()
    gc.disable()
    try:
        before = descriptors()
        for _ in range(100):
            urlopen(url, timeout=5).read()
        wait_for(lambda: descriptors() < before + 50, 10, state=descriptors)
    finally:
        gc.enable()


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
