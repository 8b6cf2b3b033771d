"""The Secret with a namespace's own database URL: the only place where its password is written down."""

from __future__ import annotations

from autoglm_api.names import LABEL_MANAGED_BY, MANAGED_BY, STORAGE_SECRET, STORAGE_SECRET_KEY
from autoglm_operator.kube import Object


def storage_secret(namespace: str, url: str) -> Object:
    """`autoglm-storage`, owned by no study: the next one uses it too."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": STORAGE_SECRET,
            "namespace": namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY},
        },
        "type": "Opaque",
        "stringData": {STORAGE_SECRET_KEY: url},
    }
