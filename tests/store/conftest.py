from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres import PostgresServer, start_postgres


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = start_postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def database(postgres: PostgresServer) -> str:
    """One database for all tests; each test makes studies with names of their own."""
    return postgres.create_database("shared")


@pytest.fixture(params=["journal", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each storage in turn."""
    if request.param == "journal":
        return f"journal://{tmp_path}/journal.log"
    return str(request.getfixturevalue("database"))
