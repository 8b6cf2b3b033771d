from __future__ import annotations

import json
import multiprocessing
import threading
import time
from pathlib import Path

import psycopg
import pytest
from optuna.trial import TrialState
from tests.postgres import PostgresServer, start_postgres

from autoglm_store.connection import delete_study, load_study
from autoglm_store.creation import complete_study, create_study, create_tables
from autoglm_store.errors import SchemaMismatch, StorageUnreachable, StudyNotFound
from autoglm_store.journal import repair_journal
from autoglm_store.limits import read_limits, read_run, write_limits

from . import killing
from .studies import make_run, make_study, reload, train_all

forked = multiprocessing.get_context("forkserver")
forked.set_forkserver_preload(["tests.store.killing"])


def test_a_study_is_created_once_however_often_it_is_asked_for(url: str) -> None:
    run, limits = make_run(enqueue=[{"x": 0.1}, {"x": 0.2}])
    for _ in range(3):
        make_study(url, run, limits)
    study = reload(url, run)
    assert [trial.system_attrs["fixed_params"] for trial in study.get_trials()] == [{"x": 0.1}, {"x": 0.2}]
    assert (read_run(study), read_limits(study)) == (run, limits)


def test_a_stored_run_stays_when_the_spec_is_edited_and_limits_follow(url: str) -> None:
    run, limits = make_run(enqueue=[{"x": 0.1}])
    make_study(url, run, limits)
    edited = limits.model_copy(update={"max": 99, "generation": 2})
    study = make_study(url, run.model_copy(update={"fingerprint": "edited"}), edited)
    assert read_run(study) == run
    assert read_limits(study) == edited


def test_limits_that_stand_there_already_are_not_written_again(tmp_path: Path) -> None:
    run, limits = make_run()
    study = make_study(f"journal://{tmp_path}/journal.log", run, limits)
    before = (tmp_path / "journal.log").stat().st_size
    write_limits(study, limits)
    assert (tmp_path / "journal.log").stat().st_size == before


def test_a_study_whose_creation_fails_at_its_end_is_not_there_and_can_be_created_later(database: str) -> None:
    run, limits = make_run(enqueue=[{"x": 0.1}])
    storage = create_tables(database)
    with pytest.raises(TypeError, match="JSON"):
        complete_study(storage, "half/made", run, limits, {"own": object()})
    with pytest.raises(StudyNotFound):
        load_study(database, "half/made")
    assert complete_study(storage, "half/made", run, limits, {"own": 1}).user_attrs["own"] == 1
    assert len(load_study(database, "half/made").trials) == 1


def test_eight_creators_of_a_fresh_database_do_not_disturb_each_other(postgres: PostgresServer) -> None:
    url = postgres.create_database("fresh")
    run, limits = make_run(enqueue=[{"x": 0.1}, {"x": 0.2}])
    name = f"{run.namespace}/{run.name}/{run.uid}"
    creators = [forked.Process(target=create_study, args=(url, name, run, limits)) for _ in range(8)]
    for process in creators:
        process.start()
    for process in creators:
        process.join(60)
    assert [process.exitcode for process in creators] == [0] * 8
    assert len(reload(url, run).get_trials()) == 2


def test_a_deleted_study_is_gone_and_deleting_it_again_is_no_error(url: str) -> None:
    run, limits = make_run()
    study = make_study(url, run, limits)
    for _ in range(2):
        delete_study(url, study.study_name)
    with pytest.raises(StudyNotFound, match="holds no study"):
        reload(url, run)


def test_the_schema_of_another_optuna_is_refused_with_a_sentence(postgres: PostgresServer) -> None:
    url = postgres.create_database("foreign")
    run, limits = make_run()
    make_study(url, run, limits)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
    for refused in (lambda: reload(url, run), lambda: make_study(url, run, limits)):
        with pytest.raises(SchemaMismatch, match=r"revision v9\.9\.9, but Optuna .* needs .* database of its own"):
            refused()


def test_a_database_without_tables_is_told_from_one_that_is_away(postgres: PostgresServer) -> None:
    url = postgres.create_database("bare")
    with pytest.raises(SchemaMismatch, match="no tables of Optuna"):
        load_study(url, "a/b/c")


@pytest.mark.parametrize(
    "broken",
    [
        "postgresql://someone:SECRET@127.0.0.1:1/db",
        "postgresql://postgres:SECRET@{host}:{port}/postgres",
        "postgresql://postgres:SECRET@{host}:notaport/nowhere",
        "sqlite:///SECRET.db",
        "SECRET",
    ],
)
def test_an_unreachable_storage_is_a_sentence_without_the_password(postgres: PostgresServer, broken: str) -> None:
    url = broken.format(host=postgres.host, port=postgres.port)
    run, limits = make_run()
    for refused in (lambda: load_study(url, "a/b/c"), lambda: make_study(url, run, limits)):
        with pytest.raises(StorageUnreachable) as caught:
            refused()
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_journal_that_is_not_there_is_not_created_by_reading(tmp_path: Path) -> None:
    with pytest.raises(StorageUnreachable, match="does not exist"):
        load_study(f"journal://{tmp_path}/journal.log", "a/b/c")
    assert list(tmp_path.iterdir()) == []


def test_half_a_line_at_the_end_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    run, limits = make_run(trials={"max": 3})
    study = make_study(f"journal://{journal}", run, limits)
    whole = journal.read_bytes()
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "work')
    assert reload(f"journal://{journal}", run).get_trials() == []
    repair_journal(journal)
    assert journal.read_bytes() == whole
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "work')
    train_all(study, run)  # whoever writes next cuts it off as well
    assert [json.loads(line)["op_code"] for line in journal.read_text().splitlines()]
    assert len(reload(f"journal://{journal}", run).get_trials()) == 3


def test_the_journals_lock_dies_with_its_holder(tmp_path: Path) -> None:
    run, limits = make_run()
    url = f"journal://{tmp_path}/journal.log"
    study = make_study(url, run, limits)
    holder = forked.Process(target=killing.hold_journal_lock, args=(str(tmp_path / "journal.log"),))
    holder.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "held").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    holder.kill()
    holder.join(20)
    began = time.monotonic()
    study.ask()
    assert time.monotonic() - began < 5


def test_a_worker_waits_while_its_database_is_away_and_loses_nothing(tmp_path: Path) -> None:
    server = start_postgres(tmp_path / "server")
    try:
        url = server.create_database("own")
        run, limits = make_run(trials={"max": 6})
        make_study(url, run, limits)
        stopping = threading.Event()
        study = load_study(url, f"{run.namespace}/{run.name}/{run.uid}", stopping=stopping)
        trial = study.ask()
        server.stop()
        told = threading.Thread(target=study.tell, args=(trial, 0.5))
        told.start()
        told.join(0.5)
        assert told.is_alive()
        server.start()
        told.join(30)
        assert [each.state for each in study.get_trials()] == [TrialState.COMPLETE]
        server.stop()
        stopping.set()
        with pytest.raises(StorageUnreachable, match="away"):
            study.ask()
    finally:
        server.stop()
