"""The study's user attributes: the frozen run, the editable limits, and how the study ended."""

from __future__ import annotations

import optuna

from autoglm_api.attempts import Export, Fatal, Limits, StudyAttribute, Surroundings
from autoglm_api.run import Run

from .errors import StudyNotFound


def read_run(study: optuna.Study) -> Run:
    """The run as it was frozen when the study was created.

    Raises:
        StudyNotFound: the study was not made by `create_study`.
    """
    stored = study.user_attrs.get(StudyAttribute.RUN)
    if stored is None:
        raise StudyNotFound(f"{study.study_name} holds no run; it was not created by this project")
    return Run.model_validate(stored)


def read_limits(study: optuna.Study) -> Limits:
    """What may change while the study runs.

    Raises:
        StudyNotFound: the study was not made by `create_study`.
    """
    return read_limits_and_fatal(study)[0]


def read_limits_and_fatal(study: optuna.Study) -> tuple[Limits, Fatal | None]:
    """Both in one reading, for every claim.

    Raises:
        StudyNotFound: the study was not made by `create_study`.
    """
    attributes = study.user_attrs
    if StudyAttribute.LIMITS not in attributes:
        raise StudyNotFound(f"{study.study_name} holds no limits; it was not created by this project")
    fatal = attributes.get(StudyAttribute.FATAL)
    return Limits.model_validate(attributes[StudyAttribute.LIMITS]), fatal and Fatal.model_validate(fatal)


def write_limits(study: optuna.Study, limits: Limits) -> None:
    """Store the limits; nothing is written when they stand there already. One writer a study."""
    wanted = limits.to_json_dict()
    if study.user_attrs.get(StudyAttribute.LIMITS) != wanted:
        study.set_user_attr(StudyAttribute.LIMITS, wanted)


def write_surroundings(study: optuna.Study, surroundings: Surroundings) -> str:
    """Keep what the trials of this process are made with, once for all processes alike; gives its key."""
    name = f"{StudyAttribute.SURROUNDINGS}:{surroundings.key}"
    if name not in study.user_attrs:
        study.set_user_attr(name, surroundings.to_json_dict())
    return surroundings.key


def read_surroundings(study: optuna.Study, key: str | None) -> Surroundings | None:
    """What `write_surroundings` kept; None for trials from before it was kept."""
    stored = study.user_attrs.get(f"{StudyAttribute.SURROUNDINGS}:{key}")
    return None if stored is None else Surroundings.model_validate(stored)


def read_export(study: optuna.Study) -> Export | None:
    """What was exported; None before."""
    stored = study.user_attrs.get(StudyAttribute.EXPORT)
    return None if stored is None else Export.model_validate(stored)


def write_export(study: optuna.Study, export: Export) -> None:
    """Record the exported model; its files must all be there."""
    study.set_user_attr(StudyAttribute.EXPORT, export.to_json_dict())


def read_fatal(study: optuna.Study) -> Fatal | None:
    """The error that every trial would meet; None if there is none."""
    return read_limits_and_fatal(study)[1]


def write_fatal(study: optuna.Study, fatal: Fatal) -> None:
    """Record an error that ends the study; the first one stays."""
    if StudyAttribute.FATAL not in study.user_attrs:
        study.set_user_attr(StudyAttribute.FATAL, fatal.to_json_dict())


def is_exhausted(study: optuna.Study) -> bool:
    """Whether a worker found every point of a finite space tried."""
    return bool(study.user_attrs.get(StudyAttribute.EXHAUSTED, False))


def write_exhausted(study: optuna.Study) -> None:
    """Record that every point of a finite space has been tried."""
    if not is_exhausted(study):
        study.set_user_attr(StudyAttribute.EXHAUSTED, value=True)
