"""The journal file: Optuna's embedded storage, under a lock that the kernel gives back when its holder dies.

Optuna's own lock file outlives a killed process by 30 seconds, and half a line left by it makes the journal
unreadable for good as soon as somebody appends. Here the lock is `flock`, and whoever takes it cuts half a line off.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.storages.journal._storage import JournalOperation
from typing_extensions import override

logger = logging.getLogger(__name__)

_TAIL_BYTES = 1 << 16
_FORCED = {
    JournalOperation.CREATE_STUDY,
    JournalOperation.SET_STUDY_USER_ATTR,
    JournalOperation.SET_TRIAL_STATE_VALUES,
}


class KernelLock(BaseJournalFileLock):
    """An exclusive `flock` beside the journal; not for network file systems."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._path = journal.with_name(journal.name + ".lock")
        self._descriptor: int | None = None

    @override
    def acquire(self) -> bool:
        """Wait for the lock, then make sure that the journal ends in a whole line."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._descriptor = descriptor
        _cut_torn_line(self._journal)
        return True

    @override
    def release(self) -> None:
        """Give the lock back."""
        assert self._descriptor is not None, "only a held lock is released"
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)


def _cut_torn_line(journal: Path) -> None:
    with journal.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        start = max(0, size - _TAIL_BYTES)
        file.seek(start)
        whole = start + file.read().rfind(b"\n") + 1
        if whole == start > 0:
            raise OSError(f"{journal}: the last {_TAIL_BYTES} bytes hold no whole line; this is not an Optuna journal")
        file.truncate(whole)
    logger.warning("%s: cut off %d bytes of a line that a killed process left unfinished", journal, size - whole)


class Journal(JournalFileBackend):
    """The journal's file, forced to disk when a study or a result is written and not at each of a trial's ten lines.

    A killed process loses nothing of either; a power failure may cost the trials that were training.
    """

    def __init__(self, journal: Path) -> None:
        self._kernel_lock = KernelLock(journal)
        super().__init__(str(journal), lock_obj=self._kernel_lock)
        self._journal = journal

    @override
    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._kernel_lock.acquire()
        try:
            with self._journal.open("ab", buffering=0) as file:
                file.write(lines)
                if any(log["op_code"] in _FORCED for log in logs):
                    os.fsync(file.fileno())
        finally:
            self._kernel_lock.release()


def open_journal(journal: Path) -> JournalStorage:
    """The storage in `journal`, which is created when missing."""
    return JournalStorage(Journal(journal))


def repair_journal(journal: Path) -> None:
    """Cut off half a last line, with a message; anybody's next write would do the same."""
    lock = KernelLock(journal)
    lock.acquire()
    lock.release()


@contextmanager
def creation_lock(journal: Path) -> Iterator[None]:
    """Held while a study is created, so that two creators do not enqueue twice."""
    path = journal.with_name(journal.name + ".create")
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
