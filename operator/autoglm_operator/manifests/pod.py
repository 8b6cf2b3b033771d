"""The pod that every container of ours runs in: non-root, read-only root, no API token, only the mounts it needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from autoglm_api.environment import DEFAULT_CLAIMS_ROOT, DEFAULT_SECRETS_ROOT
from autoglm_api.names import LABEL_COMPONENT, LABEL_MANAGED_BY, MANAGED_BY
from autoglm_api.parts import PodOptions, Resources
from autoglm_operator.kube import Object
from autoglm_operator.settings import Settings

CONTAINER_SECURITY: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


FOLDERS = {"HOME": "/tmp/home", "HF_HOME": "/tmp/hf", "TMPDIR": "/tmp"}  # noqa: S108 - the only writable folder
"""Where everything that wants to write is sent."""


@dataclass(frozen=True)
class Place:
    """Somewhere a container reads or writes.

    Attributes:
        name: the folder of its credentials below the secrets root (`model`, `data`, `artifacts`, `source`).
        uris: what is there; the claims of `pvc://` URIs are mounted.
        secret: the Secret with its credentials.
        writable: whether its claims are mounted for writing.
    """

    name: str
    uris: tuple[str, ...]
    secret: str | None = None
    writable: bool = False


@dataclass(frozen=True)
class Container:
    """What differs from pod to pod.

    Attributes:
        extra: further container fields, such as ports and probes.
    """

    name: str
    image: str
    args: tuple[str, ...]
    env: tuple[Object, ...]
    resources: Resources
    extra: Mapping[str, object]


def own_labels(component: str, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of every object of ours."""
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_COMPONENT: component, **labels}


def plain_env(values: Mapping[str, str]) -> tuple[Object, ...]:
    """Environment entries with plain values."""
    return tuple({"name": name, "value": value} for name, value in values.items())


def pod_template(
    container: Container,
    *,
    labels: Mapping[str, str],
    places: Sequence[Place],
    options: PodOptions,
    service_account: str | None,
    grace_seconds: int,
    settings: Settings,
) -> Object:
    """A `PodTemplateSpec`; the caller adds `restartPolicy` where it is not `Always`."""
    mounts, volumes = _mounts_and_volumes(places, options)
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _pod_security(settings),
        "terminationGracePeriodSeconds": grace_seconds,
        "containers": [_container(container, mounts, options, settings)],
        "volumes": volumes,
    }
    if service_account is not None:
        spec["serviceAccountName"] = service_account
    spec.update(_scheduling(options))
    pull_secrets = [*(ref.name for ref in options.image_pull_secrets), *settings.image_pull_secrets]
    if pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(pull_secrets)]
    metadata: Object = {"labels": {**options.labels, **labels}}
    if options.annotations:
        metadata["annotations"] = dict(options.annotations)
    return {"metadata": metadata, "spec": spec}


def _pod_security(settings: Settings) -> Object:
    security: Object = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.pod_fs_group is not None:
        security["fsGroup"] = settings.pod_fs_group
        security["fsGroupChangePolicy"] = "OnRootMismatch"
    return security


def _container(container: Container, mounts: list[Object], options: PodOptions, settings: Settings) -> Object:
    own = [*plain_env(_proxies(settings)), *plain_env(FOLDERS), *container.env]
    taken = {entry["name"] for entry in own}
    env = [*plain_env({entry.name: entry.value for entry in options.env if entry.name not in taken}), *own]
    return {
        "name": container.name,
        "image": container.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": list(container.args),
        "env": env,
        "resources": _resources(container.resources),
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
        **container.extra,
    }


def _resources(resources: Resources) -> Object:
    parts = {"requests": resources.requests, "limits": resources.limits}
    return {key: {name: str(amount) for name, amount in part.items()} for key, part in parts.items() if part}


def _proxies(settings: Settings) -> dict[str, str]:
    proxies = {
        "HTTP_PROXY": settings.pod_http_proxy,
        "HTTPS_PROXY": settings.pod_https_proxy,
        "NO_PROXY": settings.pod_no_proxy,
    }
    return {name: value for name, value in proxies.items() if value}


def _mounts_and_volumes(places: Sequence[Place], options: PodOptions) -> tuple[list[Object], list[Object]]:
    mounts: list[Object] = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108
    volumes: list[Object] = [{"name": "tmp", "emptyDir": {}}, {"name": "shm", "emptyDir": {"medium": "Memory"}}]
    for place in places:
        if place.secret is not None:
            name = f"secret-{place.name}"
            mounts.append({"name": name, "mountPath": f"{DEFAULT_SECRETS_ROOT}/{place.name}", "readOnly": True})
            volumes.append({"name": name, "secret": {"secretName": place.secret}})
    claim_mounts, claim_volumes = _of_claims_and_options(places, options)
    return [*mounts, *claim_mounts], [*volumes, *claim_volumes]


def _of_claims_and_options(places: Sequence[Place], options: PodOptions) -> tuple[list[Object], list[Object]]:
    """The claims that URIs name, and what the user adds; one volume a claim: with two, many kubelets wait for ever."""
    asked: list[Object] = [mount.to_json_dict() for mount in options.volume_mounts]
    given: list[Object] = [volume.to_json_dict() for volume in options.volumes]
    by_claim = {each["persistentVolumeClaim"]["claimName"]: each for each in given if each.get("persistentVolumeClaim")}
    mounts: list[Object] = []
    volumes: list[Object] = []
    for index, (claim, writable) in enumerate(sorted(claims(places).items())):
        volume = by_claim.get(claim)
        if volume is None:
            volume = {"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim}}
            volumes.append(volume)
        elif writable and volume["persistentVolumeClaim"].pop("readOnly", False):
            for mount in asked:  # only the user's own mounts stay read-only
                if mount["name"] == volume["name"]:
                    mount["readOnly"] = True
        mount = {"name": volume["name"], "mountPath": f"{DEFAULT_CLAIMS_ROOT}/{claim}"}
        mounts.append(mount if writable else {**mount, "readOnly": True})
    return [*mounts, *asked], [*volumes, *given]


def claims(places: Iterable[Place]) -> dict[str, bool]:
    """The claims of all `pvc://` URIs, each with whether somebody writes there."""
    found: dict[str, bool] = {}
    for place in places:
        for uri in place.uris:
            parts = urlsplit(uri)
            if parts.scheme == "pvc":
                found[parts.netloc] = found.get(parts.netloc, False) or place.writable
    return found


def _scheduling(options: PodOptions) -> Object:
    fields: Object = {
        "nodeSelector": dict(options.node_selector),
        "tolerations": [toleration.to_json_dict() for toleration in options.tolerations],
        "affinity": options.affinity,
        "topologySpreadConstraints": list(options.topology_spread_constraints),
        "priorityClassName": options.priority_class_name,
        "runtimeClassName": options.runtime_class_name,
    }
    return {name: value for name, value in fields.items() if value}
