"""Trials of earlier studies, as this one would have recorded them: samplers see them, nothing else counts them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoglm_api.attempts import StudyAttribute, TrialAttribute
from autoglm_api.base import Scalar
from autoglm_api.catalog import find_task
from autoglm_api.run import Run
from autoglm_api.space import describe, is_active, ordered

from .errors import StudyNotFound
from .ledger import constraint_names, is_ours
from .limits import read_run
from .sampling import distribution

MOST = 500
"""Trials that are taken in all, the newest of each study; more make choosing slow and say little."""


@dataclass(frozen=True)
class Source:
    """An earlier study: its name, what it ran, and its trials."""

    name: str
    run: Run
    trials: Sequence[FrozenTrial]


@dataclass(frozen=True)
class Imports:
    """What is taken over, and sentences about it for people."""

    trials: tuple[FrozenTrial, ...]
    told: tuple[str, ...]


def importable(run: Run, sources: Sequence[Source]) -> Imports:
    """The complete trials of `sources` that are points of this study's space and measured what it judges by."""
    taken: list[FrozenTrial] = []
    told: list[str] = []
    for source in sources:
        results = [trial for trial in source.trials if _is_result(trial)]
        fitting, refused = _sorted_out(run, source, results[-(MOST // len(sources)) :])
        taken += fitting
        why = "; ".join(f"{count} left out: {reason}" for reason, count in refused.most_common(3))
        rest = f" ({why})" if why else ""
        told.append(
            f"{len(fitting)} of {len(results)} complete trials of study {source.name} imported{rest}"
            f"{_differences(run, source.run) if fitting else ''}"
        )
    return Imports(tuple(taken), tuple(told))


def _differences(run: Run, earlier: Run) -> str:
    """What the imported trials do not say, or say of something else, as the end of a sentence."""
    here, there = ({parameter.name for parameter in each.parameters} for each in (run, earlier))
    found = [f"{', '.join(sorted(there - here))} dropped"] if there - here else []
    if here - there:
        found.append(f"{', '.join(sorted(here - there))} taken as the task's default")
    if earlier.model != run.model:
        found.append("trained on another base model")
    if earlier.data != run.data:
        found.append("measured on other rows")
    return f", {', '.join(found)}" if found else ""


def read_sources(storage: BaseStorage, run: Run, own: str) -> list[Source]:
    """The studies that the run begins with, from its own database; of several with one name, the newest.

    Args:
        storage: the study's.
        run: the run that is about to begin.
        own: the study's own name in Optuna; an earlier one of the same name may be a source.

    Raises:
        StudyNotFound: the database holds no study of one of the names.
    """
    stored = sorted(storage.get_all_studies(), key=lambda study: study._study_id, reverse=True)  # noqa: SLF001
    sources = []
    for name in run.warm_start:
        prefix = f"{run.namespace}/{name}/"
        found = next((one for one in stored if one.study_name.startswith(prefix) and one.study_name != own), None)
        if found is None:
            raise StudyNotFound(
                f"warmStart.fromStudies names study {name}, of which this study's database holds no trials; create it"
                " first, or create this study without it"
            )
        sources.append(read_source(storage, name, found.study_name))
    return sources


def read_source(storage: BaseStorage, name: str, stored_name: str) -> Source:
    """One study as a source; what is complete by now is taken.

    Raises:
        StudyNotFound: it was not made by this project, or is still being created.
    """
    study = optuna.load_study(
        study_name=stored_name, storage=storage, sampler=RandomSampler(seed=0), pruner=NopPruner()
    )
    return Source(name, read_run(study), study.get_trials(deepcopy=False))


def write_imports(study: optuna.Study, imports: Imports) -> None:
    """Add the trials that are not there yet, then the sentences: whoever finds those need not come again."""
    known = {str(trial.user_attrs.get(TrialAttribute.IMPORTED)) for trial in study.get_trials(deepcopy=False)}
    for trial in imports.trials:
        if str(trial.user_attrs[TrialAttribute.IMPORTED]) not in known:
            study.add_trial(trial)
    study.set_user_attr(StudyAttribute.WARM_START, "; ".join(imports.told)[:1000])


def _is_result(trial: FrozenTrial) -> bool:
    return (
        trial.state == TrialState.COMPLETE
        and is_ours(trial)
        and TrialAttribute.DUPLICATE_OF not in trial.user_attrs
        and TrialAttribute.METRICS in trial.user_attrs
    )


def _sorted_out(run: Run, source: Source, results: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], Counter[str]]:
    fitting: list[FrozenTrial] = []
    refused: Counter[str] = Counter()
    for trial in results:
        found = _translated(run, source, trial)
        if isinstance(found, str):
            refused[found] += 1
        else:
            fitting.append(found)
    return fitting, refused


def _translated(run: Run, source: Source, trial: FrozenTrial) -> FrozenTrial | str:
    """The trial as one of this study, or why it cannot be one."""
    if source.run.task != run.task:
        return f"its task is {source.run.task}"
    metrics: Mapping[str, float] = trial.user_attrs[TrialAttribute.METRICS]
    for name in run.judged:
        if not math.isfinite(metrics.get(name, math.nan)):
            return f"no finite {name}"
    point = _point(run, trial.params)
    if isinstance(point, str):
        return point
    violations = [constraint.violation(metrics[constraint.metric]) for constraint in run.constraints]
    return create_trial(
        values=[metrics[objective.metric] for objective in run.objectives],
        params=dict(point),
        distributions={each.name: distribution(each) for each in run.parameters if each.name in point},
        system_attrs={f"constraints:{key}": by for key, by in zip(constraint_names(run), violations, strict=True)},
        user_attrs={
            TrialAttribute.IMPORTED: {"study": source.name, "uid": source.run.uid, "trial": trial.number},
            TrialAttribute.METRICS: dict(metrics),
        },
    )


def _point(run: Run, given: Mapping[str, Scalar]) -> Mapping[str, Scalar] | str:
    """The point in this space; what its study did not search stood at the task's default there."""
    defaults = find_task(run.task).for_model(run.model).defaults(given)
    point: dict[str, Scalar] = {}
    for parameter in ordered(run.parameters):
        if not is_active(parameter, point):
            continue
        value = given.get(parameter.name, defaults.get(parameter.name))
        if value is None:
            return f"no {parameter.name}"
        if not parameter.contains(value):
            return f"{parameter.name} outside {describe(parameter)}"
        point[parameter.name] = value
    return point
