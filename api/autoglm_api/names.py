"""Names, labels and annotations: one function a name, ≤ 63 characters, the same input always the same name."""

from __future__ import annotations

import hashlib

from .study import GROUP

STUDY_PLURAL, STUDY_KIND = "autoglmstudies", "AutoGLMStudy"
ENDPOINT_PLURAL, ENDPOINT_KIND = "autoglmendpoints", "AutoGLMEndpoint"

FINALIZER = f"{GROUP}/cleanup"
FIELD_MANAGER = "autoglm-operator"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_COMPONENT = "app.kubernetes.io/component"
MANAGED_BY = "autoglm"
LABEL_STUDY = f"{GROUP}/study"
LABEL_STUDY_UID = f"{GROUP}/study-uid"
LABEL_SLOT = f"{GROUP}/slot"
LABEL_ENDPOINT = f"{GROUP}/endpoint"
LABEL_ENDPOINT_UID = f"{GROUP}/endpoint-uid"
LABEL_DIGEST = f"{GROUP}/digest"

ANNOTATION_CHAMPION = f"{GROUP}/champion"
ANNOTATION_PREVIOUS = f"{GROUP}/previous"
ANNOTATION_CANDIDATE = f"{GROUP}/candidate"
ANNOTATION_REJECTED = f"{GROUP}/rejected"
ANNOTATION_MODEL = f"{GROUP}/model"
ANNOTATION_MANIFEST = f"{GROUP}/manifest-hash"
ANNOTATION_HEALTH = f"{GROUP}/argocd-health"

STORAGE_SECRET = "autoglm-storage"
STORAGE_SECRET_KEY = "url"
ARTIFACTS_CLAIM = "autoglm-artifacts"


class Component:
    """Values of the component label."""

    WORKER = "worker"
    EXPORT = "export"
    CLEANUP = "cleanup"
    COPY = "copy"
    COLLECT = "collect"
    SERVER = "server"


def bounded(name: str, limit: int) -> str:
    """`name` itself if it fits, else its start and six hex digits of its hash; never ends in `-` or `.`."""
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{name[: limit - 7].rstrip('-.')}-{digest}"


def _label(name: str) -> str:
    """`name` as the start of a DNS label: ≤ 40 characters, no dots; `a.b` and `a-b` stay different."""
    if "." not in name:
        return bounded(name, 40)
    return f"{name.replace('.', '-')[:33].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _stem(name: str, uid: str) -> str:
    return f"{_label(name)}-{uid[:5]}"


def worker_job_name(study: str, uid: str, slot: int, number: int) -> str:
    """`<study ≤ 40>-<uid 5>-w<slot>-<n>`."""
    return f"{_stem(study, uid)}-w{slot}-{number}"


def study_job_name(study: str, uid: str, component: str) -> str:
    """The one export or cleanup Job of a study."""
    return f"{_stem(study, uid)}-{component}"


def endpoint_object_name(endpoint: str, digest: str, component: str = "") -> str:
    """`<endpoint>-<digest 8>[-component]`; `digest` with or without its `sha256:`."""
    suffix = f"-{component}" if component else ""
    return f"{_label(endpoint)}-{digest.removeprefix('sha256:')[:8]}{suffix}"


def endpoint_service_name(endpoint: str) -> str:
    """The Service of an endpoint: its own name where that is a DNS label that starts with a letter."""
    stem = _label(endpoint)
    return stem if stem[0].isalpha() else f"e-{stem}"


def optuna_study_name(namespace: str, name: str, uid: str) -> str:
    """`<namespace>/<name>/<uid>`: unique for ever, readable in any Optuna tool."""
    return f"{namespace}/{name}/{uid}"


def database_name(namespace: str) -> str:
    """A namespace's database and role in PostgreSQL (identifiers end at 63 bytes)."""
    stem = bounded(f"autoglm_{namespace}", 40).replace("-", "_")
    return f"{stem}_{hashlib.sha256(namespace.encode()).hexdigest()[:8]}"


def label_value(text: str) -> str:
    """`text` as a label value: ≤ 63 characters."""
    return bounded(text, 63)
