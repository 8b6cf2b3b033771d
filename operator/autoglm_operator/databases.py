"""The study databases as the operator uses them: few threads, a deadline for every call, one circuit breaker each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import TypeVar

import psycopg
from optuna.storages import BaseStorage
from psycopg.conninfo import make_conninfo

from autoglm_api.run import Run
from autoglm_store.connection import explained, open_storage
from autoglm_store.creation import CREATION_LOCK, create_tables
from autoglm_store.errors import SchemaMismatch, StorageUnreachable, StoreError
from autoglm_store.schema import SCHEMA_REVISION, Connection, make_tables

from . import counts, metrics
from .book import TrialBook
from .observation import StoredStudy

T = TypeVar("T")

BREAKER_LIMIT_SECONDS = 30.0
IDLE_SECONDS = 60.0
_CONNECT = {"connect_timeout": 5, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
# Also what a server says as it ends a session: that it was idle too long is an internal error to psycopg.
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
_READ_ONLY = "-c default_transaction_read_only=on -c statement_timeout=20s -c lock_timeout=5s"


class Away(StorageUnreachable):
    """The database does not answer; `retry_seconds` = when the breaker lets the next call through."""

    def __init__(self, message: str, *, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class Database:
    """One database: a connection for reading, Optuna's storage for writing, and the books of its running studies.

    Its methods run in a worker thread, one at a time.
    """

    def __init__(self, url: str, max_age_seconds: float) -> None:
        self._url = url
        self._max_age = max_age_seconds
        self._connection: Connection | None = None
        self._storage: BaseStorage | None = None
        self._books: dict[str, TrialBook] = {}
        self._unread: set[str] = set()
        self._read_at = 0.0
        self._checked = False

    def look(self, study: str) -> StoredStudy | None:
        """The study as it is now or was a moment ago; all watched studies are read together, a new one alone."""
        book = self._books.get(study)
        if book is None:
            book = self._books[study] = TrialBook(_observe_trial)
            self._unread.add(study)
        if monotonic() - self._read_at >= self._max_age:
            self._read(dict(self._books))  # `forget` comes from another thread, while we read
            self._read_at = monotonic()
        elif study in self._unread:
            self._read({study: book})
        return book.stored()

    def has_tables(self) -> bool:
        """Whether Optuna's tables are there, at the right revision."""
        if self._checked:
            return True
        found = counts.revision(self._reading())
        if found is None:
            return False
        if found != SCHEMA_REVISION:
            raise SchemaMismatch(
                f"the database holds Optuna's tables at revision {found}; this version needs {SCHEMA_REVISION}."
                " Give the study a database of its own, or upgrade the tables with `optuna storage upgrade`"
            )
        self._checked = True
        return True

    @contextmanager
    def locked(self, key: int) -> Iterator[None]:
        """Hold a session's advisory lock; it is free again at the latest when the connection ends."""
        connection = self._reading()
        connection.execute("SELECT pg_advisory_lock(%s)", (key,))
        try:
            yield
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", (key,))

    def _reading(self) -> Connection:
        if self._connection is None:
            self._connection = psycopg.connect(_conninfo(self._url), autocommit=True)
        return self._connection

    def _read(self, books: Mapping[str, TrialBook]) -> None:
        if not self.has_tables():
            return  # Optuna has never been here: no study exists yet
        news = counts.read(self._reading(), {name: book.known for name, book in books.items()})
        for name, rows in news.items():
            books[name].fold(rows, datetime.now(UTC))
        self._unread.difference_update(books)

    def ensure_tables(self) -> None:
        """Make Optuna's tables where there are none; quickly if the database is empty."""
        if self.has_tables():
            return
        with self.writing(CREATION_LOCK) as connection:
            made = make_tables(connection)
        if not made:
            self._storage = create_tables(self._url)

    def storage(self) -> BaseStorage:
        """Optuna's storage for writing."""
        if self._storage is None:
            self.ensure_tables()
            self._storage = self._storage or open_storage(self._url)
        return self._storage

    @contextmanager
    def writing(self, lock: int) -> Iterator[Connection]:
        """One transaction that may write, on the connection that otherwise only reads, alone with this lock."""
        connection = self._reading()
        with explained(self._url), connection.pipeline(), connection.transaction():
            connection.execute("SET TRANSACTION READ WRITE")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
            yield connection

    def stale(self, study: str) -> None:
        """Read a study again at the next look: we have written."""
        self._unread.add(study)

    def forget(self, study: str) -> None:
        """Stop reading a study."""
        self._books.pop(study, None)
        self._unread.discard(study)

    def disconnect(self) -> None:
        """Close all connections; they are made again when they are needed."""
        self._checked = False
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()
        storage, self._storage = self._storage, None
        if storage is not None:
            storage.remove_session()
            engine = getattr(getattr(storage, "_backend", storage), "engine", None)
            if engine is not None:
                engine.dispose()


class _Breaker:
    """Opens at the first failure, for 1 s, then longer and longer; closes at the first success."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0
        self._message = ""

    def check(self) -> None:
        left = self._open_until - monotonic()
        if left > 0:
            raise Away(self._message, retry_seconds=left)

    def failed(self, message: str) -> Away:
        self._failures += 1
        seconds = min(BREAKER_LIMIT_SECONDS, 2.0 ** min(self._failures - 1, 10))
        self._open_until, self._message = monotonic() + seconds, message
        return Away(message, retry_seconds=seconds)

    def worked(self) -> None:
        self._failures = 0


class Databases:
    """All study databases, each called by one thread at a time, with a deadline."""

    def __init__(self, *, threads: int, timeout_seconds: float, max_age_seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="storage")
        self._timeout = timeout_seconds
        self._max_age = max_age_seconds
        self._known: dict[str, _Guarded] = {}

    async def look(self, url: str, study: str) -> StoredStudy | None:
        """The study as stored; None when it does not exist yet.

        Raises:
            Away: no answer. SchemaMismatch: another Optuna's tables.
        """
        return await self.call(url, "look", lambda database: database.look(study))

    async def call(self, url: str, operation: str, function: Callable[[Database], T]) -> T:
        """Run `function` in a thread, alone on its database.

        Raises:
            Away: no answer, or none in time. StoreError: what the store says otherwise.
        """
        guarded = self._known.setdefault(url, _Guarded(Database(url, self._max_age)))
        with metrics.STORAGE_ERRORS.labels(operation=operation).count_exceptions():
            guarded.breaker.check()
            async with guarded.lock:
                guarded.breaker.check()
                guarded.last_used = monotonic()
                with metrics.STORAGE_SECONDS.labels(operation=operation).time():
                    return await self._guarded(guarded, function)

    async def _guarded(self, guarded: _Guarded, function: Callable[[Database], T]) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._pool, function, guarded.database)
        try:
            answer = await asyncio.wait_for(asyncio.shield(running), self._timeout)
        except TimeoutError:
            # The thread cannot be stopped; this object is left to it, and the next call begins with a new one.
            guarded.database = Database(guarded.database._url, self._max_age)  # noqa: SLF001
            raise guarded.breaker.failed(f"no answer from the database in {self._timeout:g} s") from None
        except (*_AWAY, StorageUnreachable) as error:
            guarded.database.disconnect()
            raise guarded.breaker.failed(" ".join(str(error).split())[:500]) from None
        except StoreError:
            raise
        except psycopg.Error:
            guarded.database.disconnect()
            raise
        guarded.breaker.worked()
        return answer

    def forget(self, url: str, study: str) -> None:
        """Stop reading a study that is over."""
        if url in self._known:
            self._known[url].database.forget(study)

    def reset(self, url: str) -> None:
        """Close the breaker: the reason for its failures has been removed."""
        if url in self._known:
            self._known[url].breaker = _Breaker()

    async def rest(self) -> None:
        """Close the connections of databases that nobody has used for a minute."""
        for guarded in list(self._known.values()):
            if monotonic() - guarded.last_used > IDLE_SECONDS and not guarded.lock.locked():
                async with guarded.lock:
                    await asyncio.get_running_loop().run_in_executor(self._pool, guarded.database.disconnect)

    def close(self) -> None:
        """Close everything that is not in use."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for guarded in self._known.values():
            guarded.database.disconnect()


class _Guarded:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.lock = asyncio.Lock()
        self.breaker = _Breaker()
        self.last_used = monotonic()


def _conninfo(url: str) -> str:
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    return make_conninfo(plain, options=_READ_ONLY, application_name="autoglm-operator", **_CONNECT)


def _observe_trial(run: Run, seconds: float) -> None:
    metrics.TRIAL_SECONDS.labels(namespace=run.namespace, task=run.task).observe(seconds)
