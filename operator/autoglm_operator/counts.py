"""The one file that reads Optuna's tables by SQL: what changed since the last look, for all studies of a database.

Read only, and only at the store's `SCHEMA_REVISION`; a test compares it with the installed Optuna. Trials of one study
get their ids under the study's row lock, so within a study nothing appears below an id that was seen already.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import StudyAttribute, TrialAttribute
from autoglm_store.schema import Connection

SPEC_ATTRIBUTE = "autoglm:spec"
"""The operator's own: the spec a study was accepted with; written last, so it also says that creation was finished."""

_FIXED = [StudyAttribute.RUN.value, SPEC_ATTRIBUTE]
_EDITED = [attribute.value for attribute in StudyAttribute if attribute is not StudyAttribute.RUN]
_UNREAD = [TrialAttribute.LOG.value]

_STUDIES = """
SELECT s.study_name, s.study_id, a.key, a.value_json
FROM studies s LEFT JOIN study_user_attributes a
  ON a.study_id = s.study_id AND (a.key = ANY(%(edited)s) OR (a.key = ANY(%(fixed)s) AND s.study_name = ANY(%(new)s)))
WHERE s.study_name = ANY(%(names)s)
"""
_TRIALS = """
SELECT t.trial_id, t.study_id, t.number, t.state::text, t.datetime_start, t.datetime_complete
FROM trials t JOIN unnest(%(studies)s::int[], %(last)s::int[]) AS seen(study_id, last_id) USING (study_id)
WHERE t.trial_id > seen.last_id
  OR t.trial_id = ANY(%(running)s) OR (t.trial_id = ANY(%(waiting)s) AND t.state <> 'WAITING')
ORDER BY t.trial_id
"""
_USER_ATTRIBUTES = (
    "SELECT trial_id, key, value_json FROM trial_user_attributes WHERE trial_id = ANY(%s) AND key <> ALL(%s)"
)
_SYSTEM_ATTRIBUTES = "SELECT trial_id, key, value_json FROM trial_system_attributes WHERE trial_id = ANY(%s)"
_PARAMETERS = "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params WHERE trial_id = ANY(%s)"
_VALUES = (
    "SELECT trial_id, value, value_type::text FROM trial_values WHERE trial_id = ANY(%s) ORDER BY trial_id, objective"
)
_VALUE_WORDS = {"INF_POS": float("inf"), "INF_NEG": float("-inf")}


@dataclass(frozen=True)
class Known:
    """How far a study has been read: the last trial id, and the ids that were not finished then.

    Nothing of a trial changes while it waits, so those that still do are not read again.
    """

    last_id: int = 0
    running_ids: tuple[int, ...] = ()
    waiting_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class StudyRows:
    """What is new of one study: its user attributes, and the attempts that appeared or may have changed, by id."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[FrozenTrial, ...] = ()


def revision(connection: Connection) -> str | None:
    """The revision of Optuna's tables; None when there are none."""
    found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def read(connection: Connection, known: Mapping[str, Known]) -> dict[str, StudyRows]:
    """Everything new of the named studies; a study that does not exist is left out.

    Args:
        connection: to a database at `SCHEMA_REVISION`, in autocommit.
        known: study name → how far it has been read; `Known()` at the first time.
    """
    names = list(known)
    new = [name for name, so_far in known.items() if so_far.last_id == 0]
    attributes: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    ids: dict[str, int] = {}
    parameters = {"edited": _EDITED, "fixed": _FIXED, "new": new, "names": names}
    for name, study_id, key, value in connection.execute(_STUDIES, parameters):
        ids[name] = study_id
        if key is not None:
            attributes[name][key] = json.loads(value)
    by_study: defaultdict[int, list[FrozenTrial]] = defaultdict(list)
    for study_id, attempt in _attempts(connection, {ids[name]: known[name] for name in ids}):
        by_study[study_id].append(attempt)
    return {name: StudyRows(attributes[name], tuple(by_study[study_id])) for name, study_id in ids.items()}


def _attempts(connection: Connection, known: Mapping[int, Known]) -> Iterable[tuple[int, FrozenTrial]]:
    if not known:
        return []
    parameters = {
        "studies": list(known),
        "last": [so_far.last_id for so_far in known.values()],
        "running": [trial_id for so_far in known.values() for trial_id in so_far.running_ids],
        "waiting": [trial_id for so_far in known.values() for trial_id in so_far.waiting_ids],
    }
    # States first: whatever ended an attempt was written before its state, so it is read after it.
    rows = connection.execute(_TRIALS, parameters).fetchall()
    ids = [row[0] for row in rows]
    if not ids:
        return []
    user = _grouped(connection.execute(_USER_ATTRIBUTES, (ids, _UNREAD)).fetchall())
    system = _grouped(connection.execute(_SYSTEM_ATTRIBUTES, (ids,)).fetchall())
    points = _points(connection.execute(_PARAMETERS, (ids,)).fetchall())
    values: defaultdict[int, list[float]] = defaultdict(list)
    for trial_id, value, word in connection.execute(_VALUES, (ids,)):
        values[trial_id].append(_VALUE_WORDS[word] if word in _VALUE_WORDS else float(value))
    return [
        (
            study_id,
            FrozenTrial(
                number=number,
                state=TrialState[state],
                value=None,
                values=values.get(trial_id),
                datetime_start=_utc(start),
                datetime_complete=_utc(complete),
                params=points.get(trial_id, {}),
                distributions={},
                user_attrs=user.get(trial_id, {}),
                system_attrs=system.get(trial_id, {}),
                intermediate_values={},
                trial_id=trial_id,
            ),
        )
        for trial_id, study_id, number, state, start, complete in rows
    ]


def _grouped(rows: Sequence[tuple[Any, ...]]) -> dict[int, dict[str, Any]]:
    found: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, value in rows:
        found[trial_id][key] = json.loads(value)
    return found


def _points(rows: Sequence[tuple[Any, ...]]) -> dict[int, dict[str, Any]]:
    found: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, name, value, distribution in rows:
        found[trial_id][name] = json_to_distribution(distribution).to_external_repr(value)
    return found


def _utc(stamp: datetime | None) -> datetime | None:
    return stamp if stamp is None else stamp.replace(tzinfo=UTC)
