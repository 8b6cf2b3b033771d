"""A pod's volumes as directories on this machine, ready to be bound into its containers."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from e2e.cluster.environment import Json, Lookup, ReferenceNotFoundError, decoded_data, field_value

TokenRequest = Callable[[Json], Awaitable[str]]
"""Asks the API server for a ServiceAccount token by a `serviceAccountToken` projection."""


async def prepare_volumes(pod: Json, directory: Path, lookup: Lookup, token: TokenRequest) -> dict[str, Path]:
    """Makes every volume of the pod and returns name → directory. Making them again refreshes projected ones.

    Raises:
        ReferenceNotFoundError: a claim is not bound yet, or an object is missing; try again.
    """
    made: dict[str, Path] = {}
    group = pod["spec"].get("securityContext", {}).get("fsGroup")
    for volume in pod["spec"].get("volumes", []):
        path = directory / volume["name"]
        if "persistentVolumeClaim" in volume:
            path = await _claimed(volume["persistentVolumeClaim"]["claimName"], lookup)
        elif "hostPath" in volume:
            path = Path(volume["hostPath"]["path"])
        elif "emptyDir" in volume or len(volume) == 1:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o777)
        else:
            await _project(volume, path, pod, lookup, token)
        if group is not None and "hostPath" not in volume:
            _give_to_group(path, group)
        made[volume["name"]] = path
    return made


def remove_volumes(directory: Path) -> None:
    """Removes what belongs to the pod; claims stay."""
    shutil.rmtree(directory, ignore_errors=True)


async def _claimed(name: str, lookup: Lookup) -> Path:
    claim = await lookup("persistentvolumeclaims", name)
    if claim is None:
        raise ReferenceNotFoundError(f'persistentvolumeclaim "{name}" not found')
    volume = await lookup("persistentvolumes", claim["spec"].get("volumeName", ""))
    if claim.get("status", {}).get("phase") != "Bound" or volume is None:
        raise ReferenceNotFoundError(f'persistentvolumeclaim "{name}" is not bound')
    path = Path(volume["spec"]["hostPath"]["path"])
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o2777)  # as the provisioners of single-node clusters do
    return path


async def _project(volume: Json, path: Path, pod: Json, lookup: Lookup, token: TokenRequest) -> None:
    """Writes configMap, secret, downwardAPI and projected volumes, each file replaced in one step."""
    if "projected" in volume:
        sources, mode = volume["projected"].get("sources", []), volume["projected"].get("defaultMode")
    else:
        kind = next(key for key in volume if key != "name")
        sources, mode = [{kind: volume[kind]}], volume[kind].get("defaultMode")
    path.mkdir(parents=True, exist_ok=True)
    for source in sources:
        for name, content in (await _files(source, pod, lookup, token)).items():
            target = path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_name(f".{target.name}.new")
            fresh.write_bytes(content)
            fresh.chmod(mode or 0o644)
            fresh.rename(target)


async def _files(source: Json, pod: Json, lookup: Lookup, token: TokenRequest) -> Mapping[str, bytes]:
    (kind, body), *_ = source.items()
    if kind == "serviceAccountToken":
        return {body["path"]: (await token(body)).encode()}
    if kind == "downwardAPI":
        items = [(item["path"], item["fieldRef"]["fieldPath"]) for item in body.get("items", [])]
        return {path: field_value(field_path, pod).encode() for path, field_path in items}
    if kind not in {"secret", "configMap"}:
        raise ReferenceNotFoundError(f"volumes of the kind {kind} are not supported by this pod runner")
    name = body.get("secretName") or body["name"]
    optional = body.get("optional", False)
    data = await decoded_data("secrets" if kind == "secret" else "configmaps", name, lookup, optional=optional)
    if not body.get("items"):
        return data
    missing = [item["key"] for item in body["items"] if item["key"] not in data]
    if missing and not optional:
        raise ReferenceNotFoundError(f"references non-existent key {missing[0]} of {kind} {name}")
    return {item["path"]: data[item["key"]] for item in body["items"] if item["key"] in data}


def _give_to_group(path: Path, group: int) -> None:
    """`fsGroup`: the group owns everything and what is made later inherits it; done once, as with OnRootMismatch."""
    if path.stat().st_gid == group:
        return
    for folder, _, files in os.walk(path, topdown=False):
        for entry in (*(Path(folder, name) for name in files), Path(folder)):
            with contextlib.suppress(FileNotFoundError):  # another pod works in it
                os.chown(entry, -1, group, follow_symlinks=False)
                if not entry.is_symlink():
                    entry.chmod(entry.stat().st_mode | (0o2770 if entry.is_dir() else 0o060))
