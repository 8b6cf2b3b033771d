"""Opening and deleting studies, on PostgreSQL or in a journal file; never makes tables."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import optuna
import psycopg
from optuna.exceptions import StorageInternalError
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy import Engine, event, exc, make_url

from .errors import SchemaMismatch, StorageUnreachable, StudyNotFound
from .journal import open_journal
from .patience import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, PatientStorage

STARTUP_PATIENCE_SECONDS = 300.0

CLIENT_OPTIONS = {
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
    return open_with_engine(url)[0]


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
    with explained(url):
        try:
            return optuna.load_study(
                study_name=name, storage=storage, sampler=RandomSampler(seed=0), pruner=NopPruner()
            )
        except KeyError:
            raise StudyNotFound(f"{_shown(url)} holds no study {name}; it was deleted or never created") from None


def study_names(url: str, beginning: str) -> list[str]:
    """The studies whose name begins so, sorted.

    Raises:
        StorageUnreachable, SchemaMismatch: as `open_storage`.
    """
    storage = open_storage(url)
    with explained(url):
        return sorted(name for name in optuna.get_all_study_names(storage) if name.startswith(beginning))


def delete_study(url: str, name: str) -> None:
    """Delete the study with all its trials; one that is not there is no error.

    Raises:
        StorageUnreachable, SchemaMismatch: as `open_storage`.
    """
    storage, engine = open_with_engine(url)
    with explained(url):
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
            storage, engine = open_with_engine(url)
        except StorageUnreachable:
            if stopping.wait(delay) or time.monotonic() > deadline:
                raise
            delay = min(2 * delay, LONGEST_DELAY_SECONDS)
        else:
            return PatientStorage(storage, stopping, engine)


def open_with_engine(url: str, *, create: bool = False) -> tuple[BaseStorage, Engine | None]:
    """The storage, and the engine that holds its connections; only `create` makes tables."""
    path = journal_path(url)
    if path is None:
        with explained(url):
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
    doubled = psycopg_url(url).replace("{", "{{").replace("}", "}}")
    rdb = RDBStorage(
        doubled,
        engine_kwargs={**_POOL, "connect_args": dict(CLIENT_OPTIONS)},
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


def psycopg_url(url: str) -> str:
    """The URL with the driver that we use.

    Raises:
        StorageUnreachable: it is none of PostgreSQL.
    """
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
    return make_url(psycopg_url(url)).set(password=None, query={}).render_as_string()


@contextmanager
def explained(url: str) -> Iterator[None]:
    """As `answered`, where `url` itself is used for the first time and may be unreadable."""
    try:
        with answered(url):
            yield
    except (exc.ArgumentError, ValueError):
        raise StorageUnreachable(
            "the storage URL cannot be read; expected postgresql://user:password@host/db"
        ) from None


@contextmanager
def answered(url: str) -> Iterator[None]:
    """Turn what SQLAlchemy, psycopg and Optuna raise into a sentence without a password.

    Raises:
        StorageUnreachable: the database did not do what it was asked. SchemaMismatch: it has no tables.
    """
    try:
        yield
    except exc.ArgumentError:
        raise
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
