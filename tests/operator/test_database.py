"""Provisioning: each namespace its own database and role, made again after any loss, closed to everybody else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url
from tests.postgres import PostgresServer, start_postgres

from autoglm_api.names import database_name
from autoglm_operator.database import LIMITS, provision


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = start_postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


def own_url(server: PostgresServer, namespace: str, password: str, *, database: str | None = None) -> str:
    name = database_name(namespace)
    return server.url(database or name, name, password)


def test_namespace_opens_its_own_database_and_no_other(server: PostgresServer) -> None:
    provision(server.dsn, "team-a", "one")
    provision(server.dsn, "team-b", "two")

    with psycopg.connect(own_url(server, "team-a", "one")) as connection:
        connection.execute("CREATE TABLE mine (x int)")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(own_url(server, "team-a", "one", database=database_name("team-b")))
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(own_url(server, "team-b", "one"))


def test_every_client_of_the_role_has_the_time_limits(server: PostgresServer) -> None:
    provision(server.dsn, "team-c", "pw")
    with psycopg.connect(own_url(server, "team-c", "pw")) as connection:
        for name, expected in {**LIMITS, "statement_timeout": "1min"}.items():
            [[value]] = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchall()
            assert value == expected, name


def test_lost_secret_means_a_new_password_and_the_old_data(server: PostgresServer) -> None:
    provision(server.dsn, "team-d", "old")
    with psycopg.connect(own_url(server, "team-d", "old")) as connection:
        connection.execute("CREATE TABLE kept (x int)")
    provision(server.dsn, "team-d", "new")
    with psycopg.connect(own_url(server, "team-d", "new")) as connection:
        connection.execute("SELECT * FROM kept")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(own_url(server, "team-d", "old"))


def test_lost_database_is_made_again(server: PostgresServer) -> None:
    provision(server.dsn, "team-e", "pw")
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(database_name("team-e"))))
    provision(server.dsn, "team-e", "pw")
    psycopg.connect(own_url(server, "team-e", "pw")).close()


def test_eight_at_once_make_one(server: PostgresServer) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: provision(server.dsn, "team-f", "pw"), range(8)))
    psycopg.connect(own_url(server, "team-f", "pw")).close()


def test_an_administrator_need_not_be_a_superuser(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("CREATE ROLE keeper LOGIN CREATEROLE CREATEDB PASSWORD 'k'")
    keeper = make_url(server.dsn).set(username="keeper", password="k").render_as_string(hide_password=False)
    provision(keeper, "team-g", "pw")
    provision(keeper, "team-g", "pw")
    psycopg.connect(own_url(server, "team-g", "pw")).close()
