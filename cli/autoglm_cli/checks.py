"""What is wrong with a document: schema, task, search space, points. All of it at once, each with its field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autoglm_api.catalog import AUTO, TASKS, TaskDeclaration
from autoglm_api.endpoint import EndpointSpec
from autoglm_api.names import ENDPOINT_KIND, STUDY_KIND
from autoglm_api.problems import Problem, did_you_mean, locate_sentence, problems, shown
from autoglm_api.run import freeze, gpu_methods, task_of
from autoglm_api.space import Parameter, check_point, parameter_problems
from autoglm_api.study import API_VERSION, GROUP, StudySpec

from .documents import Document
from .recognise import with_recognised_columns

SPECS: Mapping[str, type[StudySpec | EndpointSpec]] = {STUDY_KIND: StudySpec, ENDPOINT_KIND: EndpointSpec}
ROOT_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")
MAX_NAME = 253


@dataclass(frozen=True)
class Checked:
    """A document after checking.

    Attributes:
        ours: whether its kind is one of ours; other kinds are only passed by.
        problems: in the order of the document; empty = valid.
        warnings: what is allowed but rarely meant.
        spec: of a valid document of ours.
    """

    document: Document
    kind: str
    namespace: str
    name: str
    ours: bool
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    spec: StudySpec | EndpointSpec | None = None


def check(document: Document) -> Checked:
    """Check one document, whatever it holds."""
    data = document.data
    if not isinstance(data, Mapping):
        problem = Problem((), f"must be a mapping with apiVersion, kind, metadata and spec, got {shown(data)}")
        return Checked(document, "", "", "", ours=True, problems=(problem,))
    kind, version = str(data.get("kind") or ""), str(data.get("apiVersion") or "")
    metadata = data.get("metadata") if isinstance(data.get("metadata"), Mapping) else {}
    assert isinstance(metadata, Mapping)
    name, namespace = str(metadata.get("name") or ""), str(metadata.get("namespace") or "default")
    if kind and kind not in SPECS and version and not version.startswith(f"{GROUP}/"):
        return Checked(document, kind, namespace, name, ours=False)
    found = [*_frame_problems(data, kind, version)]
    spec: StudySpec | EndpointSpec | None = None
    if kind in SPECS and isinstance(data.get("spec"), Mapping):
        given, unknown = with_recognised_columns(data["spec"], Path(document.file).parent)
        spec, wrong = _read_spec(SPECS[kind], given)
        found += wrong
        if unknown and any(problem.path == ("spec", "task") for problem in wrong):
            found.append(Problem(("spec", "data", "train", "source"), unknown))
    ordered = sorted(_once(found), key=lambda problem: document.line(problem.path))
    warnings = tuple(_warnings(spec)) if isinstance(spec, StudySpec) and not found else ()
    return Checked(
        document,
        kind,
        namespace,
        name,
        ours=True,
        problems=tuple(ordered),
        warnings=warnings,
        spec=None if found else spec,
    )


def _once(found: list[Problem]) -> Iterator[Problem]:
    """Each problem once, at its deepest field: schema and task may both have seen it."""
    for problem in dict.fromkeys(found):
        depth = len(problem.path)
        deeper = (other for other in found if len(other.path) > depth and other.path[:depth] == problem.path)
        if all(other.message != problem.message for other in deeper):
            yield problem


def _frame_problems(data: Mapping[str, Any], kind: str, version: str) -> Iterator[Problem]:
    """apiVersion, kind, metadata and the names beside them."""
    if kind not in SPECS:
        told = f"unknown kind {kind}{did_you_mean(kind, SPECS)}" if kind else f"is required; known: {', '.join(SPECS)}"
        yield Problem(("kind",), told)
    if version != API_VERSION:
        got = f"got {shown(data['apiVersion'])}" if version else "but is missing"
        yield Problem(("apiVersion",), f"must be {API_VERSION}, {got}")
    for field in data:
        if field not in ROOT_FIELDS:
            yield Problem((field,), f"unknown field {field}{did_you_mean(field, ROOT_FIELDS)}")
    if not isinstance(data.get("spec"), Mapping):
        got = f"must be a mapping, got {shown(data['spec'])}" if data.get("spec") is not None else "is required"
        yield Problem(("spec",), got)
    yield from _metadata_problems(data.get("metadata"))


def _metadata_problems(metadata: object) -> Iterator[Problem]:
    if not isinstance(metadata, Mapping):
        yield Problem(("metadata",), "is required, with a name")
        return
    name = metadata.get("name")
    if name is None:
        if metadata.get("generateName") is None:
            yield Problem(("metadata", "name"), "is required")
        return
    labels = isinstance(name, str) and len(name) <= MAX_NAME and name.split(".")
    if not labels or not all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", label) for label in labels):
        rule = f"must be at most {MAX_NAME} lower-case letters, digits, - and ., a letter or digit at both ends"
        yield Problem(("metadata", "name"), f"{rule}, got {shown(name)}")


def _read_spec(
    model: type[StudySpec | EndpointSpec], data: Mapping[str, Any]
) -> tuple[StudySpec | EndpointSpec | None, list[Problem]]:
    found: list[Problem] = []
    spec = None
    try:
        # By JSON and strictly, as the API server does it: "20" is no number and "yes" no boolean.
        spec = model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        found += problems(error, data, model, root=("spec",))
    if model is StudySpec:
        found += _task_problems(data)
    if isinstance(spec, StudySpec) and not found:
        found += _door_problems(spec, data)
    return spec, found


def _door_problems(spec: StudySpec, data: Mapping[str, Any]) -> Iterator[Problem]:
    """What only shows when the task's own space is filled in, such as a sampler that cannot search it."""
    try:
        freeze(spec, namespace="namespace", name="name", uid="uid", artifacts_uri="s3://bucket")
    except ValueError as error:
        yield locate_sentence(str(error), data, root=("spec",))


def _task_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What the task does not know; looks past anything whose shape is wrong, which has been said already."""
    name = data.get("task")
    if not isinstance(name, str) or name == AUTO:
        return
    task = TASKS.get(name)
    if task is None:
        yield Problem(("spec", "task"), f"unknown task {name}{did_you_mean(name, [*TASKS, AUTO])}")
        return
    data_section = data.get("data")
    columns = data_section.get("columns") if isinstance(data_section, Mapping) else None
    for role in columns if isinstance(columns, Mapping) else ():
        if role not in task.columns:
            told = f"{name} has no column {role}{did_you_mean(str(role), task.columns)}"
            yield Problem(("spec", "data", "columns", role), told)
    for field in ("objectives", "constraints"):
        for index, entry in enumerate(_list(data.get(field))):
            metric = entry.get("metric") if isinstance(entry, Mapping) else None
            if isinstance(metric, str) and metric not in task.metrics:
                told = f"{name} has no metric {metric}{did_you_mean(metric, task.metrics)}"
                yield Problem(("spec", field, index, "metric"), told)
    yield from _space_problems(task, data)


def _space_problems(task: TaskDeclaration, data: Mapping[str, Any]) -> Iterator[Problem]:
    parameters: list[Parameter] = []
    entries = _list(data.get("parameters"))
    for index, entry in enumerate(entries):
        where = ("spec", "parameters", index)
        try:
            parameter = Parameter.model_validate_json(json.dumps(entry), strict=True)
        except ValidationError:
            continue
        parameters.append(parameter)
        if parameter.name not in task.knobs:
            known = did_you_mean(parameter.name, task.knobs)
            yield Problem((*where, "name"), f"{task.name} has no parameter {parameter.name}{known}")
            continue
        try:
            task.check_space([parameter])
        except ValueError as error:
            yield Problem(where, str(error).removeprefix("parameters: "))
    if len(parameters) < len(entries):
        return
    for sentence in parameter_problems(parameters):
        yield locate_sentence(sentence, data, root=("spec",))
    yield from _point_problems(parameters or list(task.parameters), data)


def _point_problems(parameters: list[Parameter], data: Mapping[str, Any]) -> Iterator[Problem]:
    for index, point in enumerate(_list(data.get("enqueue"))):
        if not isinstance(point, Mapping):
            continue
        wrong = False
        for name, value in point.items():
            try:
                check_point(parameters, {name: value}, where="point")
            except ValueError as error:
                wrong = True
                yield Problem(("spec", "enqueue", index, name), str(error).removeprefix("point: "))
        if wrong:
            continue
        try:
            check_point(parameters, dict(point), where="point")
        except ValueError as error:
            yield Problem(("spec", "enqueue", index), str(error).removeprefix("point: "))


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _warnings(spec: StudySpec) -> Iterator[Problem]:
    trials, deadline = spec.trials, spec.budget.deadline
    for index, objective in enumerate(spec.objectives):
        better = task_of(spec)[0].metrics[objective.metric]
        if objective.direction != better:
            told = f"{objective.metric} is better the {'larger' if better == 'Maximize' else 'smaller'} it is"
            field = ("spec", "objectives", index, "direction")
            yield Problem(field, f"{told}; {objective.direction} seeks the worst model")
    if trials.parallel > trials.max:
        told = f"{trials.parallel} workers for {trials.max} trials: some will have nothing to do"
        yield Problem(("spec", "trials", "parallel"), told)
    if deadline and deadline <= datetime.now(UTC):
        yield Problem(("spec", "budget", "deadline"), f"{deadline.isoformat()} is over; no trial would start")
    for method in gpu_methods(task_of(spec)[0], spec.parameters) if not spec.trainer.resources.gpus else ():
        told = f"method {method} needs a GPU: on a machine with one `autoglm run` takes it, in a cluster it is refused"
        yield Problem(("spec", "trainer", "resources", "limits"), f"{told} without nvidia.com/gpu here")
    relative = [(path, uri) for path, uri in local_sources(spec) if not uri.startswith("file:///")]
    if relative:
        path, uri = relative[0]
        others = f" (and {len(relative) - 1} more)" if len(relative) > 1 else ""
        told = f"{uri}{others} is relative to this file: right for `autoglm run`, refused in a cluster"
        yield Problem(("spec", *path), told)


def local_sources(spec: StudySpec) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every `file://` place that the study reads from or writes to, with its field."""
    yield from ((path, uri) for path, uri in spec.places if uri.startswith("file://"))
