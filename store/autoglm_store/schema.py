"""Optuna's tables made straight from its own models: its own way takes ninety calls and a tenth of a second of CPU.

Only in an empty database, and only while the installed Optuna is the one that this file knows; otherwise
`creation.create_tables` has Optuna do it. A test holds the result to what Optuna makes.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

import optuna
import psycopg
from alembic.config import Config
from alembic.script import ScriptDirectory
from optuna.storages._rdb import models
from sqlalchemy import create_mock_engine

SCHEMA_REVISION = "v3.2.0.a"
"""The revision of Optuna's tables that everything which names them in SQL was written for."""

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

# As alembic makes it; Optuna's models do not have it.
_REVISION_TABLE = (
    "CREATE TABLE alembic_version"
    " (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def make_tables(connection: Connection) -> bool:
    """Make Optuna's tables, whole or not at all.

    Args:
        connection: inside a transaction that may write; the caller holds `CREATION_LOCK`.

    Returns:
        Whether they were made. False = there is something already, or the installed Optuna has other tables.
    """
    found = connection.execute("SELECT to_regclass('studies'), to_regclass('alembic_version')").fetchone()
    if found != (None, None) or newest_revision() != SCHEMA_REVISION:
        return False
    for statement in _statements():
        connection.execute(statement.encode())
    connection.execute(
        "INSERT INTO version_info (version_info_id, schema_version, library_version) VALUES (1, %s, %s)",
        (models.SCHEMA_VERSION, optuna.__version__),
    )
    connection.execute("INSERT INTO alembic_version VALUES (%s)", (SCHEMA_REVISION,))
    return True


@cache
def newest_revision() -> str | None:
    """The revision of the tables that the installed Optuna makes."""
    config = Config()
    config.set_main_option("script_location", str(files("optuna.storages._rdb") / "alembic").replace("%", "%%"))
    return ScriptDirectory.from_config(config).get_current_head()


@cache
def _statements() -> tuple[str, ...]:
    made: list[str] = []

    def write(statement: Any, *_: object) -> None:
        made.append(str(statement.compile(dialect=engine.dialect)))

    engine = create_mock_engine("postgresql+psycopg://", write)
    models.BaseModel.metadata.create_all(engine, checkfirst=False)
    return *made, _REVISION_TABLE
