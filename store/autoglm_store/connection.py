"""Opening, creating and deleting studies, on PostgreSQL or in a journal file. Only creating makes tables."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import optuna
import psycopg
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy import Engine, event, exc, make_url, text
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from autoglm_api.attempts import Limits, StudyAttribute, TrialAttribute
from autoglm_api.run import Run

from .errors import SchemaMismatch, StorageUnreachable, StudyNotFound
from .journal import creation_lock, open_journal
from .limits import write_limits
from .patience import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, PatientStorage

STARTUP_PATIENCE_SECONDS = 300.0
CREATION_LOCK = zlib.crc32(b"autoglm.io/create-study")

_CLIENT = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "application_name": "autoglm",
}
# One connection a process; the second is for a moment: a worker's watchdog writes while the main thread hangs.
_POOL = {"pool_size": 1, "max_overflow": 1, "pool_timeout": 10, "pool_pre_ping": True}
# A worker paused inside `ask` holds the study's row. The roles we make carry these limits; other people's do not.
_GUARDS = {"idle_in_transaction_session_timeout": "30s", "lock_timeout": "20s", "statement_timeout": "60s"}
_SET_GUARDS = "SELECT " + ", ".join(
    f"CASE WHEN current_setting('{name}') = '0' THEN set_config('{name}', '{value}', false) END"
    for name, value in _GUARDS.items()
)

optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()


def open_storage(url: str) -> BaseStorage:
    """The storage at `url`; never creates tables.

    Args:
        url: `postgresql://…`, `postgresql+psycopg://…` or `journal:///<absolute file>`.

    Raises:
        StorageUnreachable: no answer, access refused, or the URL names no storage of ours.
        SchemaMismatch: the tables belong to another Optuna, or there are none.
    """
    return _open(url)[0]


def create_study(url: str, name: str, run: Run, limits: Limits) -> optuna.Study:
    """Create schema, study, attributes and enqueued points, whatever of it is missing yet.

    Many may call this at once: a lock lets one after another do the rest. A run that is stored already stays.

    Raises:
        StorageUnreachable, SchemaMismatch: as `open_storage`.
    """
    with _explained(url), _creating(url) as has_tables:
        storage, engine = _open(url, create=not has_tables)
        study = complete_study(storage, name, run, limits)
        if engine is not None:
            engine.dispose()
    return study


def create_tables(url: str) -> BaseStorage:
    """Create Optuna's tables where there are none; for callers that go on with `complete_study`.

    Raises:
        StorageUnreachable, SchemaMismatch: as `open_storage`.
    """
    with _explained(url), _creating(url) as has_tables:
        return _open(url, create=not has_tables)[0]


def complete_study(
    storage: BaseStorage, name: str, run: Run, limits: Limits, attributes: Mapping[str, Any] | None = None
) -> optuna.Study:
    """What `create_study` does once the tables are there; the caller holds `CREATION_LOCK` (or the journal's lock).

    On PostgreSQL it happens as a whole or not at all.

    Args:
        storage: from `open_storage`; used by nobody else meanwhile.
        name: the Optuna name, `<namespace>/<name>/<uid>`.
        run: stored unless there is one already.
        limits: stored when they are others.
        attributes: user attributes of the caller's own, written last.
    """
    plain: dict[str, Any] = {"study_name": name, "sampler": RandomSampler(seed=0), "pruner": NopPruner()}
    try:
        study: optuna.Study | None = optuna.load_study(storage=storage, **plain)
    except KeyError:
        study = None
    with _one_transaction(storage):
        if study is None:
            upwards = run.objective.direction == "Maximize"
            study = optuna.create_study(storage=storage, direction="maximize" if upwards else "minimize", **plain)
        if StudyAttribute.RUN not in study.user_attrs:
            study.set_user_attr(StudyAttribute.RUN, run.to_json_dict())
        write_limits(study, limits)
        _enqueue(study, run)
        for key, value in (attributes or {}).items():
            study.set_user_attr(key, value)
    return study


@contextmanager
def _one_transaction(storage: BaseStorage) -> Iterator[None]:
    """Have PostgreSQL commit everything that is written inside at once; a journal has no such thing.

    Optuna commits after every call. Putting that off spares a study's creation dozens of round trips. A call that
    fails ends the whole.
    """
    rdb = getattr(storage, "_backend", None)
    if not isinstance(rdb, RDBStorage):
        yield
        return
    usual = rdb.scoped_session
    with rdb.engine.connect() as connection, connection.begin():
        rdb.scoped_session = scoped_session(sessionmaker(connection, join_transaction_mode="rollback_only"))
        try:
            yield
        finally:
            rdb.scoped_session = usual


def _enqueue(study: optuna.Study, run: Run) -> None:
    done = sum(TrialAttribute.ENQUEUED in trial.user_attrs for trial in study.get_trials(deepcopy=False))
    for point in run.enqueue[done:]:
        study.enqueue_trial(point, user_attrs={TrialAttribute.ENQUEUED: True})


def load_study(url: str, name: str, *, stopping: threading.Event | None = None) -> optuna.Study:
    """An existing study, with a plain sampler and pruner: set `build_sampler` and `build_pruner` to ask it.

    Args:
        url: as for `open_storage`.
        name: the Optuna name, `<namespace>/<name>/<uid>`.
        stopping: given = wait whenever the database is away, until this is set (at first for five minutes at most).

    Raises:
        StorageUnreachable, SchemaMismatch: as `open_storage`.
        StudyNotFound: there is no such study.
    """
    storage = open_storage(url) if stopping is None else _open_patiently(url, stopping)
    with _explained(url):
        try:
            return optuna.load_study(
                study_name=name, storage=storage, sampler=RandomSampler(seed=0), pruner=NopPruner()
            )
        except KeyError:
            raise StudyNotFound(f"{_shown(url)} holds no study {name}; it was deleted or never created") from None


def delete_study(url: str, name: str) -> None:
    """Delete the study with all its trials; one that is not there is no error.

    Raises:
        StorageUnreachable, SchemaMismatch: as `open_storage`.
    """
    storage, engine = _open(url)
    with _explained(url):
        try:
            storage.delete_study(storage.get_study_id_from_name(name))
        except KeyError:
            return
        finally:
            if engine is not None:
                engine.dispose()


def _open_patiently(url: str, stopping: threading.Event) -> PatientStorage:
    deadline = time.monotonic() + STARTUP_PATIENCE_SECONDS
    delay = FIRST_DELAY_SECONDS
    while True:
        try:
            storage, engine = _open(url)
        except StorageUnreachable:
            if stopping.wait(delay) or time.monotonic() > deadline:
                raise
            delay = min(2 * delay, LONGEST_DELAY_SECONDS)
        else:
            return PatientStorage(storage, stopping, engine)


def _open(url: str, *, create: bool = False) -> tuple[BaseStorage, Engine | None]:
    path = journal_path(url)
    if path is None:
        with _explained(url):
            return _open_postgres(url, create=create)
    if not create and not path.is_file():
        raise StorageUnreachable(f"{path} does not exist: no study has been created there")
    return open_journal(path), None


def journal_path(url: str) -> Path | None:
    """The file of a `journal://` URL; None for any other."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "journal" else None


def _open_postgres(url: str, *, create: bool) -> tuple[BaseStorage, Engine]:
    # Optuna runs the URL through str.format, so braces in a password must be doubled.
    doubled = _psycopg(url).replace("{", "{{").replace("}", "}}")
    rdb = RDBStorage(
        doubled,
        engine_kwargs={**_POOL, "connect_args": dict(_CLIENT)},
        skip_compatibility_check=True,
        skip_table_creation=not create,
    )
    event.listen(rdb.engine, "connect", _set_guards)
    found, needed = rdb.get_current_version(), _needed_schema(rdb)
    if found != needed:
        raise SchemaMismatch(
            f"{_shown(url)} holds Optuna's tables at revision {found}, but Optuna {optuna.__version__} needs {needed}:"
            " give this study a database of its own, or upgrade the tables with `optuna storage upgrade`"
        )
    return get_storage(rdb), rdb.engine


_needed: list[str] = []


def _needed_schema(rdb: RDBStorage) -> str:
    if not _needed:
        _needed.append(rdb.get_head_version())
    return _needed[0]


def _set_guards(connection: psycopg.Connection[object], _record: object) -> None:
    connection.execute(_SET_GUARDS)
    connection.commit()


@contextmanager
def _creating(url: str) -> Iterator[bool]:
    """Hold the creation lock; gives whether the tables are there already."""
    path = journal_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with creation_lock(path):
            yield False
        return
    engine = sqlalchemy.create_engine(
        _psycopg(url), poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=dict(_CLIENT)
    )
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": CREATION_LOCK})
        # The lock is the session's: closing the connection gives it back.
        yield connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")) is True


def _psycopg(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if scheme in {"postgresql", "postgres", "postgresql+psycopg"}:
        normal = f"postgresql+psycopg{separator}{rest}"
        try:
            make_url(normal)
        except (exc.ArgumentError, ValueError):
            expected = "postgresql://user:password@host:port/database"
            raise StorageUnreachable(f"the storage URL cannot be read; expected {expected}") from None
        return normal
    given = f"{scheme}:// is" if separator else "a storage URL without scheme names"
    raise StorageUnreachable(f"{given} no storage; known: postgresql://…, journal:///<absolute file>")


def _shown(url: str) -> str:
    if journal_path(url) is not None:
        return url
    return make_url(_psycopg(url)).set(password=None, query={}).render_as_string()


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what SQLAlchemy and Optuna raise into a sentence without a password."""
    try:
        yield
    except (exc.ArgumentError, ValueError):
        raise StorageUnreachable(
            "the storage URL cannot be read; expected postgresql://user:password@host/db"
        ) from None
    except (StorageInternalError, exc.SQLAlchemyError, psycopg.Error) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        cause = cause.orig if isinstance(cause, exc.DBAPIError) and cause.orig is not None else cause
        if isinstance(cause, psycopg.errors.UndefinedTable):
            raise SchemaMismatch(
                f"{_shown(url)} holds no tables of Optuna: the study has not been created yet, or the URL names the"
                " wrong database"
            ) from None
        reason = " ".join(str(cause).split())[:500]
        raise StorageUnreachable(f"{_shown(url)}: {reason}") from None
