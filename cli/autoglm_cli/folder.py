"""A run's folder: what lies where, who may work in it, and which run it is.

autoglm-runs/<name>/
  run.json       which study this is, and its UID
  journal.log    all trials (an Optuna journal)
  artifacts/     weights, checkpoints, the exported model (unless the study names another place)
  logs/          one file a worker slot, and those of export and server
  report.html    the report, when the run is over
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from autoglm_api.base import Model
from autoglm_api.names import optuna_study_name

from .errors import BusyError, CliError, UsageError

DEFAULT_ROOT = Path("autoglm-runs")


class RunRecord(Model):
    """`run.json`."""

    namespace: str
    name: str
    uid: str
    file: str
    created: datetime

    @property
    def study_name(self) -> str:
        """The study's name in Optuna."""
        return optuna_study_name(self.namespace, self.name, self.uid)


class RunFolder:
    """The folder of one local run; nothing is created before `prepare`."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.record_file = self.path / "run.json"
        self.journal = self.path / "journal.log"
        self.artifacts = self.path / "artifacts"
        self.logs = self.path / "logs"
        self.scratch = self.path / "scratch"
        self.report = self.path / "report.html"

    @property
    def storage_url(self) -> str:
        """For Optuna; spaces and the like are escaped."""
        return self.journal.as_uri().replace("file://", "journal://", 1)

    @property
    def has_study(self) -> bool:
        """Whether a study was begun here."""
        return self.record_file.is_file() and self.journal.is_file()

    def read_record(self) -> RunRecord:
        """Which run this is.

        Raises:
            CliError: `run.json` cannot be read.
        """
        try:
            return RunRecord.model_validate_json(self.record_file.read_bytes())
        except (OSError, ValidationError) as error:
            raise CliError(f"{self.record_file} cannot be read; run again with --fresh to start over") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only supervisor here; the kernel gives the lock back whatever becomes of this process.

        Raises:
            BusyError: another one works here.
            UsageError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            yield
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode() or "unknown"
            told = f"`autoglm status --dir {self.path.parent}` shows how far it is"
            raise BusyError(f"{self.path} is in use by process {holder}; {told}") from error
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Whether a supervisor works here now."""
        lock = self.path / "supervisor.lock"
        if not lock.is_file():
            return False
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def clear(self) -> None:
        """Remove the run, under the lock; files that are not ours stay.

        Raises:
            UsageError: the folder holds something, but no run of ours.
        """
        strangers = [entry.name for entry in self.path.iterdir() if entry.name != "supervisor.lock"]
        if strangers and not self.record_file.is_file():
            raise UsageError(f"{self.path} holds {strangers[0]} but no run; --fresh removes only runs")
        for file in self.path.glob("journal.log*"):
            file.unlink()
        for folder in (self.artifacts, self.logs, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)
        self.report.unlink(missing_ok=True)
        self.record_file.unlink(missing_ok=True)

    def prepare(self, *, namespace: str, name: str, file: str) -> RunRecord:
        """The record of the run begun here, or of a new one; and the folders that workers write to.

        Raises:
            UsageError: the folder cannot be written.
        """
        record = RunRecord(namespace=namespace, name=name, uid=str(uuid.uuid4()), file=file, created=datetime.now(UTC))
        temporary = self.record_file.with_suffix(".tmp")
        try:
            for folder in (self.artifacts, self.logs, self.scratch):
                folder.mkdir(exist_ok=True)
            if self.record_file.is_file():
                return self.read_record()
            temporary.write_text(record.model_dump_json(by_alias=True, indent=2))
            temporary.replace(self.record_file)
        except OSError as error:
            raise self._unwritable(error) from error
        return record

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"{self.path} cannot be written ({error.strerror}); choose a place with --dir")


def runs_in(root: Path) -> list[RunFolder]:
    """Every run below `root`, by name.

    Raises:
        UsageError: it is a file.
    """
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is no folder, so no runs are kept there")
    if not root.is_dir():
        return []
    return [RunFolder(entry) for entry in sorted(root.iterdir()) if (entry / "run.json").is_file()]


def find_run(name: str, root: Path) -> RunFolder:
    """The run called `name`, which may also be a path to its folder.

    Raises:
        UsageError: there is no such run; with the known ones.
    """
    for path in (root / name, Path(name)):
        if (path / "run.json").is_file():
            return RunFolder(path)
    known = ", ".join(folder.path.name for folder in runs_in(root)) or "none yet"
    file = "; a file is no run, which has the name of its study" if Path(name).is_file() else ""
    raise UsageError(f"there is no run {name} in {root}{file}; known: {known}")
