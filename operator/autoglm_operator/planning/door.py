"""The door: a body from the API server becomes a valid spec, or a sentence that says what is wrong with it."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from autoglm_api.catalog import find_task
from autoglm_api.problems import Problem, locate_sentence, problems
from autoglm_api.run import Run, freeze, gpu_methods
from autoglm_api.study import StudySpec
from autoglm_operator.settings import Settings

SHOWN_PROBLEMS = 5
_REVISION = re.compile(r"^(hf://datasets/[^/@]+/[^/@]+)@[^/]+")
_METADATA_HOSTS = frozenset({"metadata", "metadata.google.internal", "instance-data"})


def admit(spec: Mapping[str, Any], settings: Settings) -> tuple[StudySpec | None, str | None]:
    """The parsed spec, or why it is refused: field, value and limit of the first few problems.

    Args:
        spec: the body's `spec` as the API server stores it.
        settings: what the installation allows.
    """
    try:
        parsed = StudySpec.model_validate(spec)
    except ValidationError as error:
        return None, _sentences(problems(error, spec, StudySpec, root=("spec",)))
    found = [*_refused_sources(parsed, settings), *_refused_hosts(parsed)]
    try:
        run = frozen_run(parsed, namespace="namespace", name="name", uid="uid", settings=settings)
    except ValueError as error:
        found.append(locate_sentence(str(error), spec, root=("spec",)))
    else:
        found += _without_gpu(parsed, run)
    return (None, _sentences(found)) if found else (parsed, None)


def frozen_run(spec: StudySpec, *, namespace: str, name: str, uid: str, settings: Settings) -> Run:
    """The run that starts from `spec` in this installation.

    Raises:
        ValueError: the task cannot run it; see `freeze`.
    """
    return freeze(
        spec,
        namespace=namespace,
        name=name,
        uid=uid,
        artifacts_uri=artifacts_uri(spec, settings),
        image=spec.trainer.image or settings.trainer_image,
    )


def artifacts_uri(spec: StudySpec, settings: Settings) -> str:
    """Where artifacts go, before namespace and UID are appended."""
    return spec.artifacts.uri if spec.artifacts else settings.artifacts_uri


def _sentences(found: list[Problem]) -> str:
    more = f"; and {len(found) - SHOWN_PROBLEMS} more" if len(found) > SHOWN_PROBLEMS else ""
    return "; ".join(problem.sentence for problem in found[:SHOWN_PROBLEMS]) + more


def _refused_sources(spec: StudySpec, settings: Settings) -> Iterator[Problem]:
    for path, uri in spec.places:
        if not is_allowed(uri, settings.allowed_sources):
            allowed = ", ".join(settings.allowed_sources) or "nothing"
            yield Problem(("spec", *path), f"{uri} is not allowed in this installation, which allows {allowed}")


def _without_gpu(spec: StudySpec, run: Run) -> Iterator[Problem]:
    for method in gpu_methods(find_task(run.task), run.parameters) if not spec.trainer.resources.gpus else ():
        told = f'method {method} needs a GPU; add nvidia.com/gpu: "1", or leave {method} out of the choices of method'
        yield Problem(("spec", "trainer", "resources", "limits"), told)


def is_allowed(uri: str, allowed: tuple[str, ...]) -> bool:
    """Whether `uri` stands at or below one of the allowed prefixes; a path that climbs (`..`) never does.

    A prefix that names a hub's data set and no revision allows all its revisions.
    """
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if ".." in path.split("/"):
        return False
    plain = f"{parts.scheme}://{parts.netloc}{posixpath.normpath(path) if path else ''}"
    of_any_revision = _REVISION.sub(r"\1", plain)
    return any(
        place == prefix.rstrip("/") or place.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
        for prefix in allowed
        for place in (plain, of_any_revision)
    )


def _refused_hosts(spec: StudySpec) -> Iterator[Problem]:
    if spec.model is not None and spec.model.endpoint is not None:
        url = spec.model.endpoint.url
        if is_metadata_host(urlsplit(url).hostname or ""):
            yield Problem(
                ("spec", "model", "endpoint", "url"),
                f"{url} is a link-local or metadata address, which pods may not be sent to",
            )
    for index, entry in enumerate(spec.trainer.pod.env):
        host = urlsplit(entry.value).hostname if "://" in entry.value else None
        if host is not None and is_metadata_host(host):
            path = ("spec", "trainer", "pod", "env", index, "value")
            yield Problem(path, f"{entry.value} is a link-local or metadata address, which pods may not be sent to")


def is_metadata_host(host: str) -> bool:
    """Whether a host is a cloud's metadata service, by name or by a link-local address, however that is written."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            # 2852039166 and 0xa9fea9fe are addresses to the C library.
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return host.lower().rstrip(".") in _METADATA_HOSTS
    return (getattr(address, "ipv4_mapped", None) or address).is_link_local
