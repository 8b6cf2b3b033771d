"""Creating studies: tables, the study, its frozen run, and the points that are tried first; whole or not at all."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
import sqlalchemy
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from sqlalchemy import text
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from autoglm_api.attempts import Limits, StudyAttribute, TrialAttribute
from autoglm_api.run import Run

from .connection import CLIENT_OPTIONS, explained, journal_path, open_with_engine, psycopg_url
from .grid import enqueue, points_due
from .journal import creation_lock
from .limits import write_limits
from .warmstart import Source, importable, read_sources, write_imports

CREATION_LOCK = zlib.crc32(b"autoglm.io/create-study")


def create_study(
    url: str, name: str, run: Run, limits: Limits, sources: Sequence[Source] | None = None
) -> optuna.Study:
    """Create schema, study, attributes and enqueued points, whatever of it is missing yet.

    Many may call this at once: a lock lets one after another do the rest. A run that is stored already stays.

    Raises:
        StorageUnreachable, SchemaMismatch: as `open_storage`.
    """
    with explained(url), _creating(url) as has_tables:
        storage, engine = open_with_engine(url, create=not has_tables)
        study = complete_study(storage, name, run, limits, sources=sources)
        if engine is not None:
            engine.dispose()
    return study


def create_tables(url: str) -> BaseStorage:
    """Create Optuna's tables where there are none; for callers that go on with `complete_study`.

    Raises:
        StorageUnreachable, SchemaMismatch: as `open_storage`.
    """
    with explained(url), _creating(url) as has_tables:
        return open_with_engine(url, create=not has_tables)[0]


def complete_study(
    storage: BaseStorage,
    name: str,
    run: Run,
    limits: Limits,
    attributes: Mapping[str, Any] | None = None,
    sources: Sequence[Source] | None = None,
) -> optuna.Study:
    """What `create_study` does once the tables are there; the caller holds `CREATION_LOCK` (or the journal's lock).

    On PostgreSQL it happens as a whole or not at all.

    Args:
        storage: from `open_storage`; used by nobody else meanwhile.
        name: the Optuna name, `<namespace>/<name>/<uid>`.
        run: stored unless there is one already.
        limits: stored when they are others.
        attributes: user attributes of the caller's own, written last.
        sources: the studies that the run begins with; None = they are in the same storage.

    Raises:
        StudyNotFound: one of them is not there; nothing has been created.
    """
    plain: dict[str, Any] = {"study_name": name, "sampler": RandomSampler(seed=0), "pruner": NopPruner()}
    try:
        study: optuna.Study | None = optuna.load_study(storage=storage, **plain)
    except KeyError:
        study = None
    imports = None
    if run.warm_start and (study is None or StudyAttribute.WARM_START not in study.user_attrs):
        imports = importable(run, read_sources(storage, run, name) if sources is None else sources)
    with _one_transaction(storage):
        if study is None:
            directions = [StudyDirection[objective.direction.upper()] for objective in run.objectives]
            study = optuna.create_study(storage=storage, directions=directions, **plain)
        if StudyAttribute.RUN not in study.user_attrs:
            study.set_user_attr(StudyAttribute.RUN, run.to_json_dict())
        write_limits(study, limits)
        if imports is not None:
            write_imports(study, imports)
        _enqueue(study, run)
        enqueue(study, points_due(study.get_trials(deepcopy=False), run, limits))
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
    enqueue(study, run.enqueue[done:])


def refill_grid(url: str, name: str, run: Run, limits: Limits) -> None:
    """Enqueue the next points of a grid, if it is time; the caller holds `CREATION_LOCK`.

    The storage is a fresh one: it reads all trials, and an old one would keep them in memory for ever.

    Raises:
        StorageUnreachable, SchemaMismatch: as `open_storage`.
    """
    storage, engine = open_with_engine(url)
    try:
        with explained(url):
            plain: dict[str, Any] = {"sampler": RandomSampler(seed=0), "pruner": NopPruner()}
            study = optuna.load_study(study_name=name, storage=storage, **plain)
            points = points_due(study.get_trials(deepcopy=False), run, limits)
            with _one_transaction(storage):
                enqueue(study, points)
    finally:
        if engine is not None:
            engine.dispose()


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
        psycopg_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=dict(CLIENT_OPTIONS)
    )
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": CREATION_LOCK})
        # The lock is the session's: closing the connection gives it back.
        yield connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")) is True
