"""`autoglm plan`: what a study would do and create. Says only what is known: no times, no prices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from autoglm_api.endpoint import EndpointSpec
from autoglm_api.names import (
    ARTIFACTS_CLAIM,
    STORAGE_SECRET,
    Component,
    database_name,
    study_job_name,
    worker_job_name,
)
from autoglm_api.parts import SecretRef
from autoglm_api.run import Run, freeze, task_of
from autoglm_api.samplers import SAMPLERS
from autoglm_api.space import Parameter, describe, space_size
from autoglm_api.study import StudySpec, Validation

from .checks import Checked
from .errors import CliError, UsageError
from .sections import Section, print_sections
from .sources import files_here
from .validate import examine

UID = "<uid>"
INSTALLATION = "<installation's artifacts>"


def plan(file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file; - reads standard input.")]) -> None:
    """Show what a study would try, and what it would create in a cluster."""
    for checked in documents_of(file):
        print_sections(_sections(checked, Path(file)))


def documents_of(file: str) -> list[Checked]:
    """The valid documents of ours in a file.

    Raises:
        UsageError: the file cannot be opened.
        CliError: with every problem, one a line.
    """
    verdict = examine(file)
    told = [finding.sentence for finding in verdict.findings if not finding.warning]
    if verdict.usage:
        raise UsageError(told[0])
    if not verdict.valid:
        raise CliError("\n  ".join([f"{verdict.file} is not valid", *told]))
    return [checked for checked in verdict.checked if checked.ours]


def _sections(checked: Checked, file: Path) -> Iterator[Section]:
    match checked.spec:
        case StudySpec() as spec:
            prefix = spec.artifacts.uri if spec.artifacts else INSTALLATION
            run = freeze(spec, namespace=checked.namespace, name=checked.name, uid=UID, artifacts_uri=prefix)
            yield f"Study {checked.namespace}/{checked.name}", list(_search(spec, run))
            yield "Parameters", [(parameter.name, domain_of(parameter)) for parameter in run.parameters]
            yield "Comes from", list(_sources(spec, file))
            yield "Would be created in a cluster", list(_objects(checked, spec, run))
        case EndpointSpec() as spec:
            yield f"Endpoint {checked.namespace}/{checked.name}", list(_endpoint(checked, spec))
        case None:
            return


def _search(spec: StudySpec, run: Run) -> Iterator[tuple[str, str]]:
    _, why = task_of(spec)
    yield "task", run.task if why is None else f"{run.task} (auto: {why})"
    yield from _objectives(run)
    for constraint in run.constraints:
        sign = "≤" if constraint.operator == "LessOrEqual" else "≥"
        yield "constraint", f"{constraint.metric} {sign} {constraint.value:g}"
    size = space_size(run.parameters)
    own = "" if spec.parameters else " (the task's own space)"
    yield "space", f"{_count(size)} points, {len(run.parameters)} parameters{own}"
    trials = f"at most {min(spec.trials.max, size):g}"
    yield "trials", f"{trials} (the space has no more)" if size < spec.trials.max else trials
    mine = min(len(spec.enqueue), len(run.enqueue))
    yield (
        "first",
        f"{len(run.enqueue)} fixed points: {mine} of yours, {len(run.enqueue) - mine} good defaults of the task",
    )
    if run.warm_start:
        yield "knows", f"the complete trials of {', '.join(run.warm_start)}"
    yield "then", f"{run.sampler.type}: {SAMPLERS[run.sampler.type].how}"
    yield "", ", ".join(_sampler_sizes(run))
    given = run.pruner.to_json_dict().items()
    yield "pruner", ", ".join([run.pruner.type, *(f"{name} {value}" for name, value in given if name != "type")])
    yield "workers", f"{spec.trials.parallel} at a time"
    retries = f"a trial is retried up to {spec.trials.retries} times"
    yield "gives up", f"when more than {spec.trials.max_failed} trials have failed; {retries}"
    if spec.trials.timeout_seconds:
        yield "timeout", f"{spec.trials.timeout_seconds} s a trial"
    if spec.budget.deadline:
        yield "deadline", spec.budget.deadline.isoformat()
    if run.export.train_on != "Train":
        yield "model", "of the winner, trained once more on training and validation rows together"


def _objectives(run: Run) -> Iterator[tuple[str, str]]:
    together = " with the other goals" if sum(each.goal is not None for each in run.objectives) > 1 else ""
    for objective in run.objectives:
        goal = f", ends early at {objective.goal:g}{together}" if objective.goal is not None else ""
        yield "objective", f"{objective.direction} {objective.metric}{goal}"
    if len(run.objectives) > 1:
        among = " among those at the goals" if any(each.goal is not None for each in run.objectives) else ""
        yield "", f"of the Pareto front the best {run.objective.metric}{among} becomes the model"


def _sampler_sizes(run: Run) -> Iterator[str]:
    if run.sampler.startup_trials is not None:
        yield f"{run.sampler.startup_trials} start-up trials count before it learns"
    if run.sampler.population_size is not None:
        yield f"generations of {run.sampler.population_size}"
    yield f"seed {run.sampler.seed}"


def _count(size: float) -> str:
    return "infinitely many" if math.isinf(size) else f"{int(size):,}"


def domain_of(parameter: Parameter) -> str:
    """A parameter's domain and when it is searched, on a line."""
    when = parameter.when
    condition = f"   when {when.parameter} is {' or '.join(map(str, when.in_))}" if when else ""
    return f"{describe(parameter)}{condition}"


def _sources(spec: StudySpec, file: Path) -> Iterator[tuple[str, str]]:
    model, data = spec.model, spec.data
    if model:
        revision = f" at {model.revision}" if model.revision else ""
        yield "model", f"{model.title}{revision}{_credentials(model.secret_ref)}{_presence(model.place, file)}"
    secret = _credentials(data.secret_ref)
    some = f", at most {data.train.limit:,} rows of it" if data.train.limit else ""
    yield "train", f"{data.train.source}{some}{secret}{_presence(data.train.source, file)}"
    if data.validation.source:
        yield "validation", f"{data.validation.source}{secret}{_presence(data.validation.source, file)}"
    else:
        yield "validation", f"{data.validation.fraction:.0%} of the training rows{_how(data.validation)}"
    if data.test:
        yield "test", f"{data.test.source}{secret}{_presence(data.test.source, file)}"
    else:
        yield "test", "none: the winner is not measured on fresh rows, and no endpoint can compare it"
    if data.edges:
        yield "edges", f"{data.edges.source}{secret}{_presence(data.edges.source, file)}"
    columns = task_of(spec)[0].named_columns(data.columns)
    yield "columns", ", ".join(f"{role} = {column}" for role, column in columns.items())
    yield from (
        (name, ", ".join(chosen)) for name, chosen in (("features", data.features), ("ignored", data.ignore)) if chosen
    )


def _how(validation: Validation) -> str:
    if validation.group_by:
        return f", in whole groups of one {validation.group_by}"
    return f", the latest by {validation.time_by}" if validation.time_by else ""


def _credentials(secret: SecretRef | None) -> str:
    return f" (credentials: Secret {secret.name})" if secret else ""


def _presence(uri: str, file: Path) -> str:
    if not uri.startswith("file://"):
        return ""
    here = files_here(uri, file.parent)
    return f"   ({len(here):,} files)" if len(here) > 1 else "" if here else "   (not on this machine)"


def _objects(checked: Checked, spec: StudySpec, run: Run) -> Iterator[tuple[str, str]]:
    first = worker_job_name(checked.name, UID, 0, 0)
    last = worker_job_name(checked.name, UID, spec.trials.parallel - 1, 0)
    names = first if spec.trials.parallel == 1 else f"{first} … {last}"
    limits = ", ".join(f"{name}: {value}" for name, value in spec.trainer.resources.limits.items())
    yield "Jobs", f"{names}{f'   each with {limits}' if limits else ''}"
    yield "Job", f"{study_job_name(checked.name, UID, Component.EXPORT)}   once, when the search is over"
    if spec.storage:
        yield "database", f"yours, by Secret {spec.storage.secret_ref.name}, key {spec.storage.secret_ref.key}"
    else:
        name = database_name(checked.namespace)
        yield "database", f"{name}, of the namespace; Secret {STORAGE_SECRET} (both made with its first study)"
    own = f"   (a try-out installation: claim {ARTIFACTS_CLAIM})"
    yield "artifacts", f"{run.artifacts_uri}{'' if spec.artifacts else own}"
    kept = "are kept" if spec.deletion_policy == "Retain" else "go too"
    yield "on deletion", f"Jobs go; trials and artifacts {kept} (deletionPolicy: {spec.deletion_policy})"


def _endpoint(checked: Checked, spec: EndpointSpec) -> Iterator[tuple[str, str]]:
    source = spec.source
    if source.study:
        yield "takes from", f"study {source.study}"
    elif source.study_selector:
        labels = ", ".join(f"{key}={value}" for key, value in source.study_selector.match_labels.items())
        yield "takes from", f"studies with {labels} in namespace {checked.namespace}"
    elif source.model:
        yield "takes from", f"{source.model.uri} only, {source.model.digest[:19]}…"
    yield "gate", f"better by at least {spec.gate.min_improvement:g} on the same test rows"
    yield "creates", f"Service {checked.name}; for each model a copy Job and a Deployment of {spec.replicas} replicas"
    prefix = spec.artifacts.uri if spec.artifacts else INSTALLATION
    yield "artifacts", f"{prefix.rstrip('/')}/{checked.namespace}/endpoints/{checked.name}/<digest>/"
