"""The door: what the API server stores of an endpoint and of the studies it selects becomes frozen values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from autoglm_api.conditions import ConditionType
from autoglm_api.endpoint import EndpointSpec
from autoglm_api.names import ANNOTATION_REJECTED
from autoglm_api.problems import Problem, problems
from autoglm_api.status import EndpointStatus, ExportedModel, ServedModel, StudyStatus
from autoglm_operator.kube import Object
from autoglm_operator.planning.door import is_allowed, is_metadata_host
from autoglm_operator.settings import Settings

from .observation import Candidate, Endpoint

SHOWN_PROBLEMS = 5


def read_endpoint(body: Object, settings: Settings) -> Endpoint:
    """The live object; an invalid spec is a sentence, and a status that cannot be read is as if it were lost."""
    metadata = body["metadata"]
    spec, invalid = admit(body.get("spec") or {}, settings)
    try:
        status = EndpointStatus.model_validate(body.get("status") or {})
    except ValidationError:
        status = EndpointStatus()
    rejected = (metadata.get("annotations") or {}).get(ANNOTATION_REJECTED, "")
    return Endpoint(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        resource_version=metadata["resourceVersion"],
        finalizers=tuple(metadata.get("finalizers") or ()),
        deleted=read_time(metadata.get("deletionTimestamp")),
        spec=spec,
        invalid=invalid,
        status=status,
        rejected=tuple(digest.strip() for digest in rejected.split(",") if digest.strip()),
    )


def admit(spec: dict[str, Any], settings: Settings) -> tuple[EndpointSpec | None, str | None]:
    """The parsed spec, or why it is refused: field, value and limit of the first few problems."""
    try:
        parsed = EndpointSpec.model_validate(spec)
    except ValidationError as error:
        return None, _sentences(problems(error, spec, EndpointSpec, root=("spec",)))
    found = list(_refused(parsed, settings))
    return (None, _sentences(found)) if found else (parsed, None)


def read_candidate(study: Object, settings: Settings) -> Candidate | None:
    """What a selected study offers; None while it offers nothing, or must not.

    Only what is needed is read, and leniently: a study that is being edited still has the model it found.
    """
    spec, metadata = study.get("spec") or {}, study["metadata"]
    if metadata.get("deletionTimestamp") or (spec.get("promotion") or {}).get("policy") == "Never":
        return None
    try:
        status = StudyStatus.model_validate(study.get("status") or {})
    except ValidationError:
        return None
    complete = any(one.type == ConditionType.COMPLETE and one.status == "True" for one in status.conditions)
    if not complete or status.model is None or status.completion_time is None:
        return None
    return Candidate(
        model=_served(metadata["name"], status.model, spec.get("task")),
        metrics=dict(status.model.metrics),
        secret=_artifacts_secret(spec, settings),
        completed=status.completion_time,
    )


def pinned_candidate(spec: EndpointSpec, settings: Settings) -> Candidate | None:
    """The pinned model, opened with the endpoint's own Secret."""
    pin = spec.source.model
    if pin is None:
        return None
    secret = settings.artifacts_secret
    if spec.artifacts is not None:
        secret = spec.artifacts.secret_ref.name if spec.artifacts.secret_ref else None
    return Candidate(model=ServedModel(digest=pin.digest, uri=pin.uri), metrics={}, secret=secret)


def read_time(text: str | None) -> datetime | None:
    """A time as Kubernetes writes it."""
    return datetime.fromisoformat(text) if text else None


def _served(study: str, model: ExportedModel, task: str | None) -> ServedModel:
    return ServedModel(
        digest=model.digest,
        uri=model.uri,
        study=study,
        trial=model.trial,
        metric=model.metric,
        direction=model.direction,
        value=model.value,
        test_digest=model.test_digest,
        task=model.task or task,
    )


def _artifacts_secret(study_spec: dict[str, Any], settings: Settings) -> str | None:
    artifacts = study_spec.get("artifacts")
    if not artifacts:
        return settings.artifacts_secret
    name = (artifacts.get("secretRef") or {}).get("name")
    return str(name) if name else None


def _refused(spec: EndpointSpec, settings: Settings) -> Iterator[Problem]:
    places = (
        (("spec", "source", "model", "uri"), spec.source.model.uri if spec.source.model else None),
        (("spec", "artifacts", "uri"), spec.artifacts.uri if spec.artifacts else None),
    )
    for path, uri in places:
        if uri is not None and not is_allowed(uri, settings.allowed_sources):
            allowed = ", ".join(settings.allowed_sources) or "nothing"
            yield Problem(path, f"{uri} is not allowed in this installation, which allows {allowed}")
    for index, entry in enumerate(spec.pod.env):
        host = urlsplit(entry.value).hostname if "://" in entry.value else None
        if host is not None and is_metadata_host(host):
            where = ("spec", "pod", "env", index, "value")
            yield Problem(where, f"{entry.value} is a link-local or metadata address, which pods may not be sent to")


def _sentences(found: list[Problem]) -> str:
    more = f"; and {len(found) - SHOWN_PROBLEMS} more" if len(found) > SHOWN_PROBLEMS else ""
    return "; ".join(problem.sentence for problem in found[:SHOWN_PROBLEMS]) + more
