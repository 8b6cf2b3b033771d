"""What is written by SQL is what Optuna's own API writes: tables, rows, and what a worker makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.postgres import PostgresServer

from autoglm_api.attempts import Limits
from autoglm_api.names import optuna_study_name
from autoglm_api.run import Run
from autoglm_store import schema
from autoglm_store.connection import load_study
from autoglm_store.creation import complete_study, create_study, create_tables
from autoglm_store.insertion import insert_study
from autoglm_store.limits import read_run
from autoglm_store.schema import SCHEMA_REVISION, make_tables, newest_revision

from .studies import make_run, train_all

Connection = psycopg.Connection[tuple[Any, ...]]
GRID = [{"name": "epochs", "int": {"min": 1, "max": 3}}]
OWN = {"own": {"text": '§ "quoted" {\'}'}}

_SCHEMA = (
    """SELECT table_name, column_name, udt_name, character_maximum_length, is_nullable, column_default
       FROM information_schema.columns WHERE table_schema = 'public'""",
    """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
       WHERE connamespace = 'public'::regnamespace""",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT enumtypid::regtype::text, enumsortorder, enumlabel FROM pg_enum",
    """SELECT pg_get_serial_sequence('trials', 'trial_id'), version_num, version_info::text
       FROM alembic_version, version_info""",
)
_OF_TRIALS = {
    "trial_user_attributes": "key, value_json",
    "trial_system_attributes": "key, value_json",
    "trial_params": "param_name, param_value",
    "trial_values": "objective, value",
    "trial_intermediate_values": "step",
    "trial_heartbeats": "heartbeat",
}
LATENCY = {"metric": "latency_p95_ms", "direction": "Minimize"}
# Everything but ids, which come from sequences; trials in the order of their ids.
_STUDY = (
    "SELECT direction::text, objective FROM study_directions WHERE study_id = %(study)s ORDER BY objective",
    "SELECT key, value_json FROM study_user_attributes WHERE study_id = %(study)s ORDER BY key",
    "SELECT key, value_json FROM study_system_attributes WHERE study_id = %(study)s",
    """SELECT number, state::text, datetime_start, datetime_complete FROM trials
       WHERE study_id = %(study)s ORDER BY trial_id""",
    *(
        f"SELECT number, {columns} FROM {table} JOIN trials USING (trial_id) WHERE study_id = %(study)s ORDER BY number"
        for table, columns in _OF_TRIALS.items()
    ),
)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    create_tables(database)
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def insert(connection: Connection, run: Run, limits: Limits, **attributes: Any) -> bool:
    return insert_study(connection, name_of(run), run, limits, attributes)


def name_of(run: Run) -> str:
    return optuna_study_name(run.namespace, run.name, run.uid)


def rows(connection: Connection, name: str) -> list[list[tuple[Any, ...]]]:
    found = connection.execute("SELECT study_id FROM studies WHERE study_name = %s", (name,)).fetchone()
    assert found is not None
    return [connection.execute(query.encode(), {"study": found[0]}).fetchall() for query in _STUDY]


def test_the_tables_are_those_that_optuna_makes(postgres: PostgresServer) -> None:
    theirs, ours = postgres.create_database("made-by-optuna"), postgres.create_database("made-by-us")
    create_tables(theirs)
    with psycopg.connect(ours) as connection:
        assert make_tables(connection)
    for query in _SCHEMA:
        with psycopg.connect(theirs) as one, psycopg.connect(ours) as other:
            found = [sorted(map(str, each.execute(query.encode()).fetchall())) for each in (one, other)]
        assert found[0]
        assert found[1] == found[0]


def test_tables_are_made_only_in_an_empty_database_and_whole(postgres: PostgresServer) -> None:
    url = postgres.create_database("half-made")
    with psycopg.connect(url) as connection:
        assert make_tables(connection)
        connection.rollback()
        assert make_tables(connection)
    with psycopg.connect(url) as connection:
        assert not make_tables(connection)


def test_another_optuna_makes_its_tables_itself(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert newest_revision() == SCHEMA_REVISION
    monkeypatch.setattr(schema, "SCHEMA_REVISION", "v2.0.0.a")
    with psycopg.connect(postgres.create_database("another-optuna")) as connection:
        assert not make_tables(connection)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"enqueue": [{"x": 0.5}, {"x": 1e-05}]},
        {"objectives": [{"metric": "loss", "direction": "Minimize"}]},
        {"objectives": [LATENCY, {"metric": "accuracy", "direction": "Maximize"}]},
        {"parameters": GRID, "sampler": {"type": "Grid"}},
        {"parameters": GRID, "sampler": {"type": "Grid"}, "enqueue": [{"epochs": 2}]},
    ],
    ids=["nothing enqueued", "points", "downwards", "several", "grid", "grid and a point of it"],
)
def test_every_row_is_as_optuna_writes_it(connection: Connection, database: str, changes: dict[str, Any]) -> None:
    run, limits = make_run(**changes)
    complete_study(create_tables(database), "by/optuna", run, limits, OWN)
    assert insert(connection, run, limits, **OWN)
    assert rows(connection, name_of(run)) == rows(connection, "by/optuna")
    connection.execute("UPDATE studies SET study_name = study_name || study_id WHERE study_name = 'by/optuna'")


def test_a_name_that_is_taken_writes_nothing(connection: Connection, database: str) -> None:
    run, limits = make_run(enqueue=[{"x": 0.1}])
    assert insert(connection, run, limits)
    before = rows(connection, name_of(run))
    edited = limits.model_copy(update={"max": 99})
    assert not insert(connection, run.model_copy(update={"fingerprint": "edited"}), edited, own=1)
    assert rows(connection, name_of(run)) == before
    create_study(database, name_of(run), run, edited)
    assert len(load_study(database, name_of(run)).trials) == 1


def test_a_study_that_begins_with_others_is_left_to_optuna(connection: Connection) -> None:
    run, limits = make_run()
    assert not insert(connection, run.model_copy(update={"warm_start": ("earlier",)}), limits)


def test_workers_take_the_points_in_order_and_then_search(connection: Connection, database: str) -> None:
    run, limits = make_run(enqueue=[{"x": 0.25}, {"x": 0.75}], trials={"max": 4, "parallel": 1})
    assert insert(connection, run, limits)
    study = load_study(database, name_of(run))
    assert read_run(study) == run
    train_all(study, run)
    assert [trial.params["x"] for trial in study.trials[:2]] == [0.25, 0.75]
    assert len(study.trials) == 4
