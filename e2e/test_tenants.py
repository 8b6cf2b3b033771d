"""Two teams in two namespaces: what one has been given opens nothing of the other's."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from e2e.conftest import Namespaces
from e2e.installation import Installation
from e2e.kube import Kube
from e2e.studies import study, wait_for_reason
from e2e.trials import storage_url
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo


@pytest.fixture
def teams(namespaces: Namespaces) -> Iterator[tuple[str, str]]:
    """Two namespaces."""
    names = namespaces.make("red"), namespaces.make("blue")
    yield names
    for name in names:
        namespaces.leave(name)


def test_credentials_of_one_namespace_do_not_open_the_other_ones_database(
    installation: Installation, kube: Kube, teams: tuple[str, str]
) -> None:
    urls = []
    for team in teams:
        kube.create(study("secret-plans", suspend=True), team)
        wait_for_reason(kube, team, "secret-plans", "Ready", "Suspended")
        url = storage_url(kube, team)
        assert url is not None
        urls.append(url)

    for team, own, other in ((teams[0], urls[0], urls[1]), (teams[1], urls[1], urls[0])):
        with psycopg.connect(own) as connection:
            names = [name for (name,) in connection.execute("SELECT study_name FROM studies")]
            (rights,) = connection.execute(_RIGHTS).fetchall()
        assert [name.split("/")[0] for name in names] == [team]
        assert rights == (False, False, False, False)
        elsewhere = str(conninfo_to_dict(other)["dbname"])
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(make_conninfo(own, dbname=elsewhere))
        with psycopg.connect(own, autocommit=True) as connection, pytest.raises(_NOT_ALLOWED):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier("more")))
    installation.check_operator()


_NOT_ALLOWED = psycopg.errors.InsufficientPrivilege
_RIGHTS = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = current_user"
