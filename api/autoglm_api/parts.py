"""The pieces that studies and endpoints share: sources, secrets, resources and the pod subset."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from .base import Model, Name
from .stores import STORES, UNUSABLE_STORES

_PLACES = "|".join((*map(re.escape, (*STORES, *UNUSABLE_STORES)), "file", "pvc"))


def _usable(uri: str) -> str:
    scheme = uri.partition("://")[0]
    if scheme in UNUSABLE_STORES:
        raise ValueError(f"{scheme}:// cannot be used: {UNUSABLE_STORES[scheme]}")
    return uri


SourceUri = Annotated[
    str,
    StringConstraints(pattern=rf"^(hf|{_PLACES}|package)://[^\s?#]+$", min_length=6, max_length=1024),
    AfterValidator(_usable),
]
ArtifactUri = Annotated[
    str,
    StringConstraints(pattern=rf"^({_PLACES})://[^\s?#]+$", min_length=6, max_length=1024),
    AfterValidator(_usable),
]
# Without user or key in it: those belong in a Secret, and an address is shown everywhere.
EndpointUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#@]+$", min_length=8, max_length=1024)]
Quantity = (
    Annotated[int, Field(ge=0)]
    | Annotated[float, Field(ge=0, allow_inf_nan=False)]
    | Annotated[str, StringConstraints(pattern=r"^[0-9.]+([eE][+-]?[0-9]+|[numkKMGTPE]i?)?$", max_length=32)]
)

# Values of labels, and of annotations; Kubernetes allows longer annotations, nobody needs them on a pod.
LabelMap = dict[str, Annotated[str, StringConstraints(max_length=63)]]
AnnotationMap = dict[str, Annotated[str, StringConstraints(max_length=4096)]]


class SecretRef(Model):
    """A Secret in the same namespace; every key becomes one credential of the source it stands beside."""

    name: Name


class SecretKeyRef(Model):
    """One key of a Secret in the same namespace."""

    name: Name
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)] = "url"


class Resources(Model):
    """Compute resources of a container, as in Kubernetes."""

    requests: dict[str, Quantity] = Field(default_factory=dict, max_length=16)
    limits: dict[str, Quantity] = Field(default_factory=dict, max_length=16)

    @property
    def gpus(self) -> int:
        """Whole GPUs that a pod with these resources holds, whatever their vendor (`nvidia.com/gpu`, `amd.com/gpu`)."""
        wanted = {**self.requests, **self.limits}
        return sum(int(float(amount)) for name, amount in wanted.items() if name.rpartition("/")[2].startswith("gpu"))


class EnvVar(Model):
    """A plain environment variable; our own (`AUTOGLM_*`) cannot be set."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
    value: Annotated[str, StringConstraints(max_length=4096)] = ""

    @model_validator(mode="after")
    def _not_ours(self) -> EnvVar:
        if self.name.startswith("AUTOGLM_"):
            raise ValueError(f"{self.name} is set by the operator; names that start with AUTOGLM_ are reserved")
        return self


class EmptyDir(Model):
    """An empty folder that lives as long as the pod."""

    medium: Literal["", "Memory"] | None = None
    size_limit: Quantity | None = None


class ClaimVolume(Model):
    """A persistent volume claim in the same namespace."""

    claim_name: Name
    read_only: bool = False


class ConfigMapVolume(Model):
    """A ConfigMap in the same namespace; every key becomes a file."""

    name: Name
    optional: bool = False


class Volume(Model):
    """A volume of one of three kinds; exactly one must be given."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    empty_dir: EmptyDir | None = None
    persistent_volume_claim: ClaimVolume | None = None
    config_map: ConfigMapVolume | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Volume:
        given = [
            kind for kind in ("empty_dir", "persistent_volume_claim", "config_map") if getattr(self, kind) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                f"a volume needs exactly one of emptyDir, persistentVolumeClaim, configMap, got {len(given)}"
            )
        return self


class VolumeMount(Model):
    """Where a volume of this pod is seen by the container."""

    name: Annotated[str, StringConstraints(max_length=63)]
    mount_path: Annotated[str, StringConstraints(pattern=r"^/[^:]*$", max_length=512)]
    sub_path: Annotated[str, StringConstraints(max_length=512)] | None = None
    read_only: bool = False


class Toleration(Model):
    """A Kubernetes toleration."""

    key: Annotated[str, StringConstraints(max_length=316)] | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: Annotated[str, StringConstraints(max_length=63)] | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class PodOptions(Model):
    """The part of a pod that a user may choose; security context, command and token mounting are ours."""

    node_selector: LabelMap = Field(default_factory=dict, max_length=32)
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=32)
    affinity: dict[str, object] | None = None
    topology_spread_constraints: tuple[dict[str, object], ...] = Field(default=(), max_length=8)
    priority_class_name: Name | None = None
    runtime_class_name: Name | None = None
    image_pull_secrets: tuple[SecretRef, ...] = Field(default=(), max_length=8)
    env: tuple[EnvVar, ...] = Field(default=(), max_length=64)
    labels: LabelMap = Field(default_factory=dict, max_length=32)
    annotations: AnnotationMap = Field(default_factory=dict, max_length=32)
    volumes: tuple[Volume, ...] = Field(default=(), max_length=16)
    volume_mounts: tuple[VolumeMount, ...] = Field(default=(), max_length=16)
