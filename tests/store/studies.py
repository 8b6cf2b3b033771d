"""Small studies for tests: a run without model and data, and a worker that trains nothing."""

from __future__ import annotations

import uuid
from typing import Any

import optuna
from optuna.trial import TrialState
from pydantic.alias_generators import to_camel

from autoglm_api.attempts import Limits, Owner
from autoglm_api.names import optuna_study_name
from autoglm_api.run import Run, freeze, limits
from autoglm_api.space import space_size
from autoglm_api.study import StudySpec
from autoglm_store.attempts import tell
from autoglm_store.claim import Nothing
from autoglm_store.connection import load_study
from autoglm_store.creation import create_study
from autoglm_store.points import next_assignment
from autoglm_store.pruners import build_pruner
from autoglm_store.samplers import build_sampler

X = {"name": "x", "float": {"min": 0.0, "max": 1.0}}
PLAIN = {"name": "epochs", "int": {"min": 1, "max": 2}}  # what any sampler can search
ME = Owner(name="worker-0", identity="1@0")


def make_spec(**changes: Any) -> StudySpec:
    fields: dict[str, Any] = {
        "task": "text-classification",
        "model": {"source": "package://nothing"},
        "data": {"train": {"source": "file:///nothing.csv"}},
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
        "pruner": {"type": "None"},
    }
    return StudySpec.model_validate({**fields, **changes})


def make_run(parameters: list[dict[str, Any]] | None = None, **changes: Any) -> tuple[Run, Limits]:
    """A run over `parameters` (default: one float) with nothing enqueued but what is asked for."""
    updates = {key: changes.pop(key) for key in list(changes) if key in Run.model_fields and key not in _SPEC_FIELDS}
    spec = make_spec(parameters=[PLAIN], **changes)
    run = freeze(spec, namespace="team", name="study", uid=str(uuid.uuid4()), artifacts_uri="file:///nowhere")
    plain = {**run.to_json_dict(), "parameters": parameters or [X], "enqueue": []}
    run = Run.model_validate({**plain, **{to_camel(key): new for key, new in updates.items()}})
    bounds = limits(spec, generation=1)
    if run.sampler.type == "Grid":
        bounds = bounds.model_copy(update={"max": int(min(spec.trials.max, space_size(run.parameters)))})
    return run, bounds


_SPEC_FIELDS = {"objectives", "constraints", "sampler", "pruner", "data", "model", "task"}


def make_study(url: str, run: Run, bounds: Limits) -> optuna.Study:
    """Created, and loaded as a worker loads it."""
    name = optuna_study_name(run.namespace, run.name, run.uid)
    create_study(url, name, run, bounds)
    return reload(url, run)


def reload(url: str, run: Run) -> optuna.Study:
    """The same study in another process's eyes."""
    study = load_study(url, optuna_study_name(run.namespace, run.name, run.uid))
    study.sampler, study.pruner = build_sampler(run), build_pruner(run)
    return study


def train_all(study: optuna.Study, run: Run, owner: Owner = ME) -> Nothing:
    """A worker whose every trial is worth its `x`, or its number."""
    while True:
        assignment = next_assignment(study, run, owner)
        if isinstance(assignment, Nothing):
            return assignment
        x = assignment.parameters.get("x", assignment.trial.number)
        assert isinstance(x, int | float)
        tell(study, assignment.trial, TrialState.COMPLETE, float(x))
