"""The database goes away, comes back, is another Optuna's, or is not where the study says."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import condition, put_rows, study, wait_for_reason, worker_pods, workers
from e2e.trials import Trials, admin_url, owner, tuned, wait_until, wait_until_searched

pytestmark = pytest.mark.timeout(600)


def touch(kube: Kube, namespace: str, name: str) -> None:
    """Has the operator look again now instead of a minute later."""
    stamp = {"metadata": {"annotations": {"e2e/touched": datetime.now(UTC).isoformat()}}}
    kube.patch("AutoGLMStudy", name, namespace, stamp)


def test_database_stopped_and_started_in_the_middle_of_a_run(
    installation: Installation, kube: Kube, namespace: str
) -> None:
    put_rows(kube, namespace)
    kube.create(tuned("outage", trials={"max": 3, "parallel": 1}), namespace)
    trials = Trials(kube, namespace, "outage")
    wait_until(trials.training, kube, namespace)
    before = worker_pods(kube, namespace, "outage")

    installation.postgres.stop()
    try:
        said = wait_for_reason(kube, namespace, "outage", "StorageReady", "Unreachable")
        assert said["status"] == "False"
        # The first message is the server's goodbye; the next ones name the place.
        place = f"port {installation.postgres.port}"
        wait_for(lambda: place in condition(kube, namespace, "outage", "StorageReady")["message"], 60)
        assert condition(kube, namespace, "outage", "Ready")["reason"] == "StorageLost"
        assert worker_pods(kube, namespace, "outage") == before
        assert installation.operator.running
    finally:
        installation.postgres.start()

    assert wait_for_reason(kube, namespace, "outage", "StorageReady", "Connected")["status"] == "True"
    told = wait_until_searched(kube, namespace, "outage")["trials"]
    trials.assert_exact(3)
    assert {owner(attempt) for attempt in trials.attempts()} == set(before)
    assert len(workers(kube, namespace, "outage")) == 1
    assert told.get("retried", 0) == 0
    installation.check_operator()


def test_tables_of_another_optuna_are_named_and_not_touched(
    installation: Installation, kube: Kube, namespace: str
) -> None:
    kube.create(study("foreign", suspend=True), namespace)
    wait_for_reason(kube, namespace, "foreign", "StorageReady", "Connected")
    installation.operator.stop()  # the schema is looked at once a connection: an operator's update begins with it
    with psycopg.connect(admin_url(installation.postgres, namespace), autocommit=True) as connection:
        ((ours,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
        installation.operator.start()

        said = wait_for_reason(kube, namespace, "foreign", "StorageReady", "SchemaMismatch")
        assert said["status"] == "False"
        assert all(word in said["message"] for word in ("v9.9.9", ours, "upgrade")), said["message"]
        assert condition(kube, namespace, "foreign", "Ready")["reason"] == "StorageLost"
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("v9.9.9",)]
        connection.execute("UPDATE alembic_version SET version_num = %s", (ours,))
    touch(kube, namespace, "foreign")
    wait_for_reason(kube, namespace, "foreign", "StorageReady", "Connected")
    installation.check_operator()


def test_storage_of_ones_own_is_asked_for_by_name(installation: Installation, kube: Kube, namespace: str) -> None:
    kube.create(study("own", suspend=True, storage={"secretRef": {"name": "mine"}}), namespace)
    said = wait_for_reason(kube, namespace, "own", "StorageReady", "SecretNotFound")
    assert "mine" in said["message"]

    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}}
    kube.create({**secret, "stringData": {"url": "mysql://user:hidden@host/db"}}, namespace)
    touch(kube, namespace, "own")
    said = wait_for_reason(kube, namespace, "own", "StorageReady", "Unreachable")
    assert "postgresql://" in said["message"]
    assert "hidden" not in said["message"]

    own = installation.postgres.create_database(f"own-{namespace}")
    kube.patch("Secret", "mine", namespace, {"stringData": {"url": own}})
    touch(kube, namespace, "own")
    wait_for_reason(kube, namespace, "own", "StorageReady", "Connected")
    with psycopg.connect(own) as connection:
        assert connection.execute("SELECT count(*) FROM studies").fetchall() == [(1,)]
    assert kube.get("Secret", "autoglm-storage", namespace) is None
    installation.check_operator()
