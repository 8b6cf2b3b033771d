"""The run: a study's spec with every default filled in, frozen when it starts and stored beside its trials.

Workers, export and report read this and never the live object: neither an edit nor an upgrade changes a
running study.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import model_validator

from .attempts import Limits
from .base import Model, Scalar
from .catalog import AUTO, TASKS, TaskDeclaration, choose_task, find_task
from .catalog.methods import METHODS, searched_methods
from .pruners import Pruner
from .samplers import SAMPLERS, Sampler, check_sampler
from .space import Parameter, all_points, check_point, same, space_size
from .study import Constraint, Data, ExportOptions, ModelSource, Objective, StudySpec, judged_by

# Fields that may be edited while a study runs; everything else is fixed by the fingerprint.
EDITABLE = frozenset({"suspend", "budget", "promotion", "ttlSecondsAfterFinished", "deletionPolicy"})
EDITABLE_TRIALS = frozenset({"max", "parallel", "maxFailed"})
EDITABLE_TRAINER = frozenset({"resources"})


class Run(Model):
    """One study's frozen instructions.

    `artifacts_uri` is the run's own prefix (`<artifacts>/<namespace>/<study uid>`), without a trailing slash.
    """

    namespace: str
    name: str
    uid: str
    task: str
    model: ModelSource | None = None
    data: Data
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    parameters: tuple[Parameter, ...]
    enqueue: tuple[dict[str, Scalar], ...] = ()
    sampler: Sampler
    pruner: Pruner
    warm_start: tuple[str, ...] = ()
    per_pod: int = 0
    timeout_seconds: int | None = None
    checkpoint_every_seconds: int = 300
    grace_seconds: int = 60
    export: ExportOptions = ExportOptions()
    artifacts_uri: str
    image: str | None = None
    fingerprint: str

    @model_validator(mode="before")
    @classmethod
    def _from_before_there_were_several(cls, stored: Any) -> Any:
        """A run that was frozen when a study had one objective."""
        if isinstance(stored, Mapping) and "objective" in stored:
            rest = {name: value for name, value in stored.items() if name != "objective"}
            return {**rest, "objectives": [stored["objective"]]}
        return stored

    @property
    def objective(self) -> Objective:
        """The first objective, which decides which trial becomes the model."""
        return self.objectives[0]

    @property
    def judged(self) -> tuple[str, ...]:
        """Metrics that the study judges by: of its objectives, then of its constraints."""
        return judged_by(self.objectives, self.constraints)


def freeze(
    spec: StudySpec, *, namespace: str, name: str, uid: str, artifacts_uri: str, image: str | None = None
) -> Run:
    """Fill in everything the user left out: the task's space, its good defaults, the start-up trials.

    Args:
        spec: a valid spec.
        namespace: the study's namespace (locally `default`).
        name: the study's name.
        uid: the study's UID; it seeds nothing and only names things.
        artifacts_uri: the prefix for artifacts, before `/<namespace>/<uid>` is appended.
        image: the trainer image that will be used.

    Raises:
        ValueError: the task or a metric is unknown, an enqueued point is outside the task's space, or the sampler
            cannot search it.
    """
    check_task(spec)
    task, _ = task_of(spec)
    parameters = spec.parameters or task.space(spec.model)
    for index, point in enumerate(spec.enqueue):
        check_point(parameters, point, where=f"enqueue[{index}]")
    check_sampler(spec.sampler, parameters, constraints=len(spec.constraints), objectives=len(spec.objectives))
    enqueue = first_points(spec, parameters)
    return Run(
        namespace=namespace,
        name=name,
        uid=uid,
        task=task.name,
        model=spec.model,
        data=spec.data.model_copy(update={"columns": task.named_columns(spec.data.columns)}),
        objectives=spec.objectives,
        constraints=spec.constraints,
        parameters=parameters,
        enqueue=enqueue[: spec.trials.max],
        sampler=sized_sampler(spec, len(enqueue)),
        # Reports of several objectives cannot be compared, so nothing is pruned.
        pruner=spec.pruner if len(spec.objectives) == 1 else Pruner(type="None"),
        warm_start=tuple(dict.fromkeys(spec.warm_start.from_studies)) if spec.warm_start else (),
        per_pod=spec.trials.per_pod,
        timeout_seconds=spec.trials.timeout_seconds,
        checkpoint_every_seconds=spec.trainer.checkpoint_every_seconds,
        grace_seconds=spec.trainer.termination_grace_period_seconds,
        export=spec.export,
        artifacts_uri=f"{artifacts_uri.rstrip('/')}/{namespace}/{uid}",
        image=image,
        fingerprint=fingerprint(spec),
    )


def task_of(spec: StudySpec) -> tuple[TaskDeclaration, str | None]:
    """The study's task; with `task: auto` also why it is this one.

    Raises:
        ValueError: there is no such task, or none that fits.
    """
    if spec.task != AUTO:
        return find_task(spec.task).for_model(spec.model), None
    task, why = choose_task(TASKS, spec.data.columns, spec.judged, spec.data.further_sources, wide=spec.data.chooses)
    return task.for_model(spec.model), why


def gpu_methods(task: TaskDeclaration, parameters: Sequence[Parameter]) -> tuple[str, ...]:
    """The tuning methods of a space that train on a GPU alone; without `parameters` of the task's own space."""
    searched = searched_methods(task.knobs, parameters or task.parameters)
    return tuple(name for name in searched if name in METHODS and METHODS[name].needs_gpu)


def check_task(spec: StudySpec) -> None:
    """Refuse an unknown task, one without its base model or sources, and columns, metrics or methods it does not have.

    Raises:
        ValueError: naming the field, its value and what is known.
    """
    task, _ = task_of(spec)
    task.check_base_model(spec.model)
    task.check_sources(spec.data)
    task.named_columns(spec.data.columns)
    task.check_features(spec.data.features, spec.data.ignore)
    named = [(f"objectives[{index}].metric", objective.metric) for index, objective in enumerate(spec.objectives)]
    named += [(f"constraints[{index}].metric", limit.metric) for index, limit in enumerate(spec.constraints)]
    for field, metric in named:
        if metric not in task.metrics:
            raise ValueError(f"{field}: {task.name} has no metric {metric!r}; known: {', '.join(sorted(task.metrics))}")
    task.check_space(spec.parameters)
    task.check_endpoint(spec.model, spec.parameters)
    task.check_export(spec.export)


def first_points(spec: StudySpec, parameters: Sequence[Parameter]) -> tuple[dict[str, Scalar], ...]:
    """The user's points, then the task's good ones; before a grid only the user's, each made a point of the grid."""
    if spec.sampler.type != "Grid":
        good = task_of(spec)[0].good_points(parameters)
        return (*spec.enqueue, *(point for point in good if point not in spec.enqueue))
    points: list[dict[str, Scalar]] = []
    for index, point in enumerate(spec.enqueue):
        whole = on_grid(parameters, point, where=f"enqueue[{index}]")
        if whole not in points:
            points.append(whole)
    return tuple(points)


def on_grid(parameters: Sequence[Parameter], point: Mapping[str, Scalar], *, where: str) -> dict[str, Scalar]:
    """The first point of the grid that agrees with `point`, which may leave parameters out.

    Raises:
        ValueError: there is none: the point names parameters that never exist together.
    """
    for whole in all_points(parameters):
        if all(name in whole and same(whole[name], value) for name, value in point.items()):
            return whole
    raise ValueError(f"{where}: no point of the grid has {', '.join(point)} together")


def sized_sampler(spec: StudySpec, enqueued: int) -> Sampler:
    """The spec's sampler with its sizes filled in."""
    sizes: dict[str, int] = {}
    if "startup_trials" in SAMPLERS[spec.sampler.type].fields:
        sizes["startup_trials"] = startup_trials(spec, enqueued)
    if "population_size" in SAMPLERS[spec.sampler.type].fields:
        sizes["population_size"] = spec.sampler.population_size or max(4, min(50, spec.trials.max // 5))
    return spec.sampler.model_copy(update=sizes)


def startup_trials(spec: StudySpec, enqueued: int) -> int:
    """How many trials come before the sampler models anything: about a fifth of the budget, at least 2, at most 10.

    Optuna's fixed 10 makes a study of 12 trials a random search.
    """
    if spec.sampler.startup_trials is not None:
        return spec.sampler.startup_trials
    return max(2, min(10, spec.trials.max // 5 + 1), min(enqueued, spec.trials.max // 2))


def limits(spec: StudySpec, *, generation: int, stop: bool = False) -> Limits:
    """The editable limits as workers read them; a grid ends with its last point."""
    grid = spec.sampler.type == "Grid"
    size = space_size(spec.parameters or task_of(spec)[0].space(spec.model)) if grid else math.inf
    return Limits(
        max=int(min(spec.trials.max, size)),
        max_failed=spec.trials.max_failed,
        retries=spec.trials.retries,
        deadline=spec.budget.deadline,
        stop=stop,
        generation=generation,
    )


def fingerprint(spec: StudySpec) -> str:
    """Hash of everything that must not change while the study runs.

    Defaults count as left out, so a newer release with one more field still knows its running studies.
    """
    written = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    fixed = {key: value for key, value in written.items() if key not in EDITABLE}
    for key, editable in (("trials", EDITABLE_TRIALS), ("trainer", EDITABLE_TRAINER)):
        part = {name: value for name, value in fixed.pop(key, {}).items() if name not in editable}
        if part:
            fixed[key] = part
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]
