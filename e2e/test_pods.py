"""What befalls one pod on the node that runs pods as processes: identity, signals, restarts, failures."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from e2e.cluster.kubelet import Kubelet
from e2e.kube import Kube, wait_for
from e2e.pods import pod, terminated

Json = dict[str, Any]


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
            "image": "debian:12",
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
    body["spec"]["initContainers"] = [{"name": "init", "image": "debian:12", "command": ["sh", "-c", "exit 3"]}]
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
    wait_for(lambda: kube.logs(namespace, "crashing", previous=True) == "try\n")


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
