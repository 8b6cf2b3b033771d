"""The try-out home of artifacts: one claim a namespace, shared by its studies and owned by none of them."""

from __future__ import annotations

from autoglm_api.names import ARTIFACTS_CLAIM, LABEL_MANAGED_BY, MANAGED_BY
from autoglm_operator.kube import Object
from autoglm_operator.settings import Settings


def artifacts_claim(namespace: str, settings: Settings) -> Object:
    """The claim behind `pvc://autoglm-artifacts`; never deleted by us, for it holds every model of the namespace."""
    spec: Object = {
        "accessModes": [settings.artifacts_claim_access_mode],
        "resources": {"requests": {"storage": settings.artifacts_claim_size}},
    }
    if settings.artifacts_claim_class is not None:
        spec["storageClassName"] = settings.artifacts_claim_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": ARTIFACTS_CLAIM,
            "namespace": namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY},
        },
        "spec": spec,
    }
