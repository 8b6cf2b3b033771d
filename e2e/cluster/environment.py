"""A container's environment as the kubelet makes it: literals, references, `$(VAR)`."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

Json = dict[str, Any]
Lookup = Callable[[str, str], Awaitable[Json | None]]
"""Reads an object of the pod's namespace by plural ("configmaps", "secrets") and name; None when there is none."""


_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def parse_quantity(text: str | int) -> Decimal:
    """A Kubernetes quantity such as `500m` or `2Gi` as a number."""
    match = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?", str(text))
    if not match:
        raise ValueError(f"{text!r} is not a quantity")
    number, suffix = Decimal(match.group(1)), match.group(2) or ""
    scale = Decimal(2) ** _BINARY[suffix] if suffix in _BINARY else Decimal(10) ** _DECIMAL.get(suffix, 0)
    return number * scale


class ReferenceNotFoundError(Exception):
    """A Secret, ConfigMap or key that the container needs is not there (yet)."""


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replaces `$(NAME)`; an unknown name stays as written and `$$(NAME)` is an escaped one."""

    def replace(match: re.Match[str]) -> str:
        if match.group(0).startswith("$$"):
            return match.group(0)[1:]
        return environment.get(match.group(1), match.group(0))

    return re.sub(r"\$?\$\(([-._a-zA-Z0-9]+)\)", replace, text)


def field_value(path: str, pod: Json) -> str:
    """The downward API's `fieldRef`."""
    keyed = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if keyed:
        return str(pod["metadata"].get(keyed.group(1), {}).get(keyed.group(2), ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        entries = pod["metadata"].get(path.split(".")[1], {})
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    value: Any = pod
    for step in path.split("."):
        value = value.get(step, "") if isinstance(value, dict) else ""
    return str(value)


def resource_value(reference: Json, containers: list[Json], default: Json, own_allocatable: Json) -> str:
    """The downward API's `resourceFieldRef`, rounded up to its divisor; without a limit it is the node's capacity."""
    container = default
    if reference.get("containerName"):
        container = next(each for each in containers if each["name"] == reference["containerName"])
    kind, resource = reference["resource"].split(".", 1)
    declared = container.get("resources", {}).get(kind, {})
    amount = declared.get(resource, own_allocatable.get(resource, "0") if kind == "limits" else "0")
    divisor = parse_quantity(reference.get("divisor") or "1") or 1
    return str(math.ceil(parse_quantity(amount) / divisor))


async def decoded_data(kind: str, name: str, lookup: Lookup, *, optional: bool) -> dict[str, bytes]:
    """All keys of a ConfigMap or Secret as bytes; an optional one that is missing is empty."""
    found = await lookup(kind, name)
    if found is None:
        if optional:
            return {}
        raise ReferenceNotFoundError(f'{kind.removesuffix("s")} "{name}" not found')
    if kind == "secrets":
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    text = {key: value.encode() for key, value in (found.get("data") or {}).items()}
    return text | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}


async def container_environment(
    container: Json, pod: Json, lookup: Lookup, *, initial: Mapping[str, str], allocatable: Json
) -> dict[str, str]:
    """Resolves `envFrom` and `env` in order, over the image's and the cluster's variables.

    Raises:
        ReferenceNotFoundError: a reference that is not optional leads nowhere.
    """
    environment = dict(initial)
    for source in container.get("envFrom", []):
        kind = "secrets" if "secretRef" in source else "configmaps"
        reference = source.get("secretRef") or source["configMapRef"]
        data = await decoded_data(kind, reference["name"], lookup, optional=reference.get("optional", False))
        prefix = source.get("prefix", "")
        environment |= {f"{prefix}{key}": value.decode() for key, value in data.items()}
    for entry in container.get("env", []):
        value = await _value(entry, container, pod, lookup, environment, allocatable)
        if value is not None:
            environment[entry["name"]] = value
    return environment


async def _value(
    entry: Json, container: Json, pod: Json, lookup: Lookup, environment: Mapping[str, str], allocatable: Json
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value", ""), environment)
    if "fieldRef" in source:
        return field_value(source["fieldRef"]["fieldPath"], pod)
    if "resourceFieldRef" in source:
        return resource_value(source["resourceFieldRef"], pod["spec"]["containers"], container, allocatable)
    kind = "secrets" if "secretKeyRef" in source else "configmaps"
    reference = source.get("secretKeyRef") or source["configMapKeyRef"]
    optional = reference.get("optional", False)
    data = await decoded_data(kind, reference["name"], lookup, optional=optional)
    if reference["key"] in data:
        return data[reference["key"]].decode()
    if optional:
        return None
    raise ReferenceNotFoundError(f"couldn't find key {reference['key']} in {kind} {reference['name']}")
