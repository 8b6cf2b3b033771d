"""A new study in one statement: the one exception to writing through Optuna's API, because that takes sixty of them.

Only for a study that is not there yet, only at the tables' `SCHEMA_REVISION`, and a test holds every row to what
Optuna's own API writes. Whatever this file does not cover goes the usual way, `creation.complete_study`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from autoglm_api.attempts import Limits, StudyAttribute, TrialAttribute
from autoglm_api.base import Scalar
from autoglm_api.run import Run

from .grid import points_due
from .ledger import FIXED_PARAMETERS
from .schema import Connection

# Nothing at all is written when the name is taken: every part hangs on the row that the first one inserts. Trials get
# their ids in the order of their numbers.
_INSERT = """
WITH study AS (
  INSERT INTO studies (study_name) VALUES (%(name)s) ON CONFLICT (study_name) DO NOTHING RETURNING study_id
), directions AS (
  INSERT INTO study_directions (direction, study_id, objective)
  SELECT direction::studydirection, study_id, place - 1
  FROM study, json_array_elements_text(%(directions)s::json) WITH ORDINALITY AS listed(direction, place)
), attributes AS (
  INSERT INTO study_user_attributes (study_id, key, value_json)
  SELECT study_id, key, value::text FROM study, json_each(%(attributes)s::json)
), given AS (
  SELECT place - 1 AS number, point::text
  FROM json_array_elements(%(points)s::json) WITH ORDINALITY AS listed(point, place)
), enqueued AS (
  INSERT INTO trials (number, study_id, state)
  SELECT number, study_id, 'WAITING' FROM study, given ORDER BY number
  RETURNING trial_id, number
), points AS (
  INSERT INTO trial_system_attributes (trial_id, key, value_json)
  SELECT trial_id, %(point_key)s, point FROM enqueued JOIN given USING (number)
), marks AS (
  INSERT INTO trial_user_attributes (trial_id, key, value_json)
  SELECT trial_id, %(mark_key)s, 'true' FROM enqueued
)
SELECT count(*) FROM study
"""


def insert_study(
    connection: Connection, name: str, run: Run, limits: Limits, attributes: Mapping[str, Any] | None = None
) -> bool:
    """Create a study with its attributes and enqueued points, as a whole or not at all.

    Args:
        connection: may write, to tables at `schema.SCHEMA_REVISION`; the caller holds `CREATION_LOCK`.
        name: the Optuna name, `<namespace>/<name>/<uid>`.
        run: stored with the study.
        limits: stored with the study.
        attributes: user attributes of the caller's own.

    Returns:
        Whether it was created. False = the name is taken, or the run begins with other studies' trials.
    """
    if run.warm_start:
        return False
    own = {StudyAttribute.RUN.value: run.to_json_dict(), StudyAttribute.LIMITS.value: limits.to_json_dict()}
    parameters = {
        "name": name,
        "directions": json.dumps([objective.direction.upper() for objective in run.objectives]),
        "attributes": json.dumps({**own, **(attributes or {})}),
        "points": json.dumps(_points(run, limits)),
        "point_key": FIXED_PARAMETERS,
        "mark_key": TrialAttribute.ENQUEUED.value,
    }
    row = connection.execute(_INSERT, parameters).fetchone()
    return row is not None and row[0] == 1


def _points(run: Run, limits: Limits) -> Sequence[Mapping[str, Scalar]]:
    """What is tried first: the points that are asked for, then a grid's first batch."""
    return [*run.enqueue, *points_due(list(_waiting(run.enqueue)), run, limits)]


def _waiting(points: Iterable[Mapping[str, Scalar]]) -> Iterable[FrozenTrial]:
    for point in points:
        marks = {TrialAttribute.ENQUEUED.value: True}
        yield create_trial(state=TrialState.WAITING, system_attrs={FIXED_PARAMETERS: dict(point)}, user_attrs=marks)
