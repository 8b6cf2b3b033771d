"""Ends attempts from outside: SIGTERM, stop, deadline, timeout; and the process itself, if the main thread cannot.

A main thread deep in one long step runs no Python, so it neither sees a signal nor answers one. Signals therefore wake
a thread of their own through a socket. Ten seconds before the pod's grace is over it ends attempt and process, whatever
the main thread does. A second thread re-reads the limits; it may hang in a database that is away, the first may not.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from autoglm_api.attempts import Limits
from autoglm_api.exits import Cause, ExitCode
from autoglm_api.run import Run
from autoglm_store.attempts import fail
from autoglm_store.errors import StoreError
from autoglm_store.ledger import is_past
from autoglm_store.limits import read_limits
from autoglm_store.patience import PatientStorage
from autoglm_trainer.errors import Interrupted

from .termination import write_termination

logger = logging.getLogger(__name__)

MARGIN_SECONDS = 10.0
LAST_WRITES_SECONDS = 6.0
IDLE_CONNECTION_SECONDS = 5.0
TICK_SECONDS = 1.0


@dataclass(frozen=True)
class Guarded:
    """The attempt under way, and when it began (monotonic seconds)."""

    study: optuna.Study
    attempt: FrozenTrial
    run: Run
    began: float


class Watchdog:
    """One per process.

    Args:
        termination_log: where the last word goes.
        limits_seconds: how often limits are re-read while training.

    Attributes:
        stopping: set by SIGTERM and SIGINT; the storage waits for its database no longer than that.
        grace_seconds: from SIGTERM to SIGKILL; taken from the run once it is known.
    """

    def __init__(self, termination_log: Path, *, limits_seconds: float = 60.0, grace_seconds: float = 60.0) -> None:
        self.stopping = threading.Event()
        self.grace_seconds = grace_seconds
        self.nothing_to_lose = True
        self._termination_log = termination_log
        self._limits_seconds = limits_seconds
        self._guarded: Guarded | None = None
        self._limits: Limits | None = None
        self._stopped_at: float | None = None

    def start(self) -> None:
        """Take over SIGTERM and SIGINT; call it in the main thread."""
        receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)  # noqa: FBT003 - a system call
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(receiver,), name="watchdog", daemon=True).start()
        threading.Thread(target=self._follow_limits, name="limits", daemon=True).start()

    @contextmanager
    def guarding(self, study: optuna.Study, attempt: FrozenTrial, run: Run) -> Iterator[None]:
        """While inside, the attempt is ended if it must be."""
        self._limits = None
        self._guarded = Guarded(study, attempt, run, time.monotonic())
        try:
            yield
        finally:
            self._guarded = None

    def interruption(self) -> Interrupted | None:
        """Why the attempt must end now; None = go on. Cheap, for every step."""
        guarded, limits = self._guarded, self._limits
        if self.stopping.is_set():
            return Interrupted(Cause.RELEASED, "the worker was asked to end; the trial goes on in another one")
        if limits is not None and limits.stop:
            return Interrupted(Cause.STOPPED, "the study has ended")
        if limits is not None and is_past(limits.deadline, datetime.now(UTC)):
            return Interrupted(Cause.STOPPED, f"the study's deadline {limits.deadline} has come")
        timeout = guarded.run.timeout_seconds if guarded is not None else None
        if guarded is not None and timeout is not None and time.monotonic() - guarded.began > timeout:
            return Interrupted(Cause.TIMEOUT, f"the attempt took longer than trials.timeoutSeconds = {timeout}")
        return None

    def seconds_left(self) -> float:
        """Until the attempt is ended by force; infinite before SIGTERM."""
        if self._stopped_at is None:
            return float("inf")
        return self._stopped_at + max(1.0, self.grace_seconds - MARGIN_SECONDS) - time.monotonic()

    def _watch(self, receiver: socket.socket) -> None:
        signals = {signal.SIGTERM, signal.SIGINT}
        while True:
            readable, _, _ = select.select([receiver], [], [], TICK_SECONDS)
            asked = bool(readable) and not signals.isdisjoint(receiver.recv(64))
            if asked and self._stopped_at is None:
                logger.info("asked to end; at most %.0f seconds are left", self.grace_seconds - MARGIN_SECONDS)
                self._stopped_at = time.monotonic()
                self.stopping.set()
            if self.stopping.is_set() and (self.nothing_to_lose or self.seconds_left() <= 0):
                self._end(Cause.RELEASED, "the process was asked to end, and a step would not have ended in time")
            self._enforce_timeout()

    def _enforce_timeout(self) -> None:
        """For a main thread that hangs: the step at which it would end the attempt itself never comes."""
        guarded = self._guarded
        if guarded is None or guarded.run.timeout_seconds is None:
            return
        limit = guarded.run.timeout_seconds + self.grace_seconds
        if time.monotonic() - guarded.began > limit:
            self._end(
                Cause.TIMEOUT, f"one step ran on for {self.grace_seconds:.0f} seconds after trials.timeoutSeconds"
            )

    def _end(self, cause: Cause, message: str) -> None:
        """End attempt and process, in bounded time even if the database hangs."""
        guarded = self._guarded
        number = None if guarded is None else guarded.attempt.number
        if guarded is not None:
            writer = threading.Thread(
                target=fail, args=(guarded.study, guarded.attempt, cause, message), name="last-writes", daemon=True
            )
            writer.start()
            writer.join(LAST_WRITES_SECONDS)
        write_termination(self._termination_log, cause, message, number)
        logger.warning("%s", message)
        logging.shutdown()
        os._exit(ExitCode.RELEASED if cause == Cause.RELEASED else ExitCode.OTHER)

    def _follow_limits(self) -> None:
        read_at = 0.0
        while not self.stopping.wait(min(TICK_SECONDS, self._limits_seconds)):
            guarded = self._guarded
            if guarded is None:
                read_at = time.monotonic()
                continue
            if time.monotonic() - max(read_at, guarded.began) >= self._limits_seconds:
                read_at = time.monotonic()
                self._read_limits(guarded)
            storage = guarded.study._storage  # noqa: SLF001
            if isinstance(storage, PatientStorage):
                storage.rest(after_seconds=IDLE_CONNECTION_SECONDS)

    def _read_limits(self, guarded: Guarded) -> None:
        try:
            self._limits = read_limits(guarded.study)
        except StoreError as error:
            logger.warning("the limits cannot be read: %s", error)
