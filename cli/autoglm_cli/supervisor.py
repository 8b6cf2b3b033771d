"""The local counterpart of the operator: keeps workers running, settles what killed ones leave, decides the end.

One per run folder, under its lock. Everything it knows is in the study, so it may be killed at any moment: the next
one calls every RUNNING trial lost (nobody else can be training it) and goes on.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import Fatal, Limits, TrialAttribute
from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause, ExitCode
from autoglm_api.run import Run
from autoglm_store.attempts import (
    create_retry,
    fail,
    is_unowned,
    settle_lost_claim,
    settle_out_of_memory,
)
from autoglm_store.grid import enqueue, points_due
from autoglm_store.ledger import counts, end_reason, retries_due
from autoglm_store.limits import is_exhausted, read_fatal, write_fatal, write_limits

from .disk import Disk
from .errors import CliError
from .interrupts import Interrupts
from .machine import share
from .pool import Ended, Pool, log_tail
from .progress import Progress
from .story import changes, view

TICK_SECONDS = 0.4
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
FAILURES_ALLOWED = 5
KILL_SLACK_SECONDS = 5.0
WORKER = "autoglm_trainer.main"


@dataclass
class Slot:
    """A place for one worker: how often it failed in a row, and when the next may start."""

    number: int
    failures: int = 0
    not_before: float = 0.0

    @property
    def name(self) -> str:
        """Of its worker."""
        return f"worker-{self.number}"


class WorkersFailingError(CliError):
    """Worker after worker ended without finishing a trial."""


class Supervisor:
    """One search.

    Args:
        study: the study, created.
        run: its frozen run.
        limits: as they stand in the study.
        parallel: worker slots.
        pool: starts the processes.
        progress: tells people.
        interrupts: counts Ctrl-C.
        worker: the worker's module.
    """

    def __init__(
        self,
        study: optuna.Study,
        run: Run,
        limits: Limits,
        *,
        parallel: int,
        pool: Pool,
        progress: Progress,
        interrupts: Interrupts,
        worker: str = WORKER,
    ) -> None:
        self._study = study
        self._run = run
        self._limits = limits
        self._parallel = parallel
        self._pool = pool
        self._progress = progress
        self._interrupts = interrupts
        self._worker = worker
        self._slots = [Slot(number) for number in range(parallel)]
        self._states: dict[int, TrialState] = {}
        self._oom_kills = _oom_kills()
        self._disk = Disk(pool.folder.path)

    def search(self) -> Reason | None:
        """Run workers until the study ends; None = interrupted, to be continued.

        Raises:
            WorkersFailingError: five workers in a row ended without finishing a trial.
        """
        self._settle_leftovers()
        while True:
            for ended in self._pool.reap():
                self._settle(ended)
            if (news := self._disk.news()) is not None:
                self._progress.line(news, "red")
            trials = self._study.get_trials(deepcopy=False)
            self._narrate(trials)
            for attempt in retries_due(trials, self._limits):
                create_retry(self._study, attempt)
            enqueue(self._study, points_due(trials, self._run, self._limits))
            reason = self._end(trials)
            if reason is not None:
                self._wind_down("finishing")
                return reason
            if self._interrupts.count:
                self._progress.line(
                    "interrupted: workers save their state and end; once more ends them at once", "yellow"
                )
                self._wind_down("ending")
                return None
            self._fill(trials)
            time.sleep(TICK_SECONDS)

    def _settle_leftovers(self) -> None:
        """Whatever is RUNNING now was left by a supervisor that is gone, and its workers with it."""
        trials = self._study.get_trials(deepcopy=False)
        self._states = {trial.number: trial.state for trial in trials}
        left = [trial for trial in trials if trial.state == TrialState.RUNNING]
        for trial in left:
            self._settle_attempt(trial, Cause.LOST, "the run was ended while this trial was training")
        finished = counts(trials, self._limits).finished
        if finished or left:
            again = f", {len(left)} cut short" if left else ""
            self._progress.line(f"going on: {finished} of {self._limits.max} trials finished{again}")

    def _settle_attempt(self, trial: FrozenTrial, cause: Cause, message: str) -> None:
        if is_unowned(trial):
            settle_lost_claim(self._study, trial)
        else:
            fail(self._study, trial, cause, message)

    def _settle(self, ended: Ended) -> None:
        """A worker has ended: its unfinished trial gets a cause, its slot a pause if it did nothing."""
        slot = next(slot for slot in self._slots if slot.name == ended.process.name)
        trials = self._study.get_trials(deepcopy=False)
        own = [trial for trial in trials if _owner(trial) == ended.process.identity]
        for trial in own:
            if trial.state == TrialState.RUNNING:
                self._settle_trial(trial, ended, trials)
        if ended.code in (ExitCode.SPEC, ExitCode.DATA):
            cause = Cause.SPEC if ended.code == ExitCode.SPEC else Cause.DATA
            write_fatal(self._study, Fatal(cause=cause, message=ended.sentence))
        if any(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in own):
            slot.failures = 0
        elif ended.code == ExitCode.NOTHING_LEFT:
            # Others hold the last points of a small space: look again later, but nothing is wrong.
            slot.failures = min(slot.failures + 1, FAILURES_ALLOWED - 1)
        elif ended.code != ExitCode.RELEASED:
            slot.failures += 1
        if ended.code not in (ExitCode.NOTHING_LEFT, ExitCode.SPEC, ExitCode.DATA):
            self._progress.line(f"{slot.name} {ended.sentence}", "red")
        if slot.failures:
            pause = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** (slot.failures - 1))
            slot.not_before = time.monotonic() + pause
        if slot.failures >= FAILURES_ALLOWED:
            raise WorkersFailingError(
                f"{FAILURES_ALLOWED} workers in a row ended without finishing a trial; the last one {ended.sentence}. "
                f"The end of {ended.process.log}:\n{log_tail(ended.process.log)}"
            )

    def _settle_trial(self, trial: FrozenTrial, ended: Ended, trials: Sequence[FrozenTrial]) -> None:
        if ended.code == -signal.SIGKILL and self._was_out_of_memory():
            settle_out_of_memory(self._study, trial, trials, "the kernel killed the worker: out of memory")
        elif ended.code == -signal.SIGKILL:
            # Somebody's hand, or the machine's; like a pod that vanished, nothing the trial has to pay for.
            self._settle_attempt(trial, Cause.LOST, f"its worker was {ended.sentence}")
        else:
            cause = ended.told.cause if ended.told else Cause.CRASHED
            self._settle_attempt(trial, cause, f"its worker {ended.sentence}")

    def _was_out_of_memory(self) -> bool:
        before, self._oom_kills = self._oom_kills, _oom_kills()
        return self._oom_kills > before

    def _narrate(self, trials: Sequence[FrozenTrial], activity: str | None = None) -> None:
        for line, style in changes(self._states, trials, self._run, self._limits):
            self._progress.line(line, style)
        self._states = {trial.number: trial.state for trial in trials}
        idle = not any(trial.state == TrialState.RUNNING for trial in trials)
        words = activity or f"{len(self._pool.alive)} workers{' loading model and data' if idle else ''}"
        self._progress.show(view(trials, self._run, self._limits, self._parallel), words)

    def _end(self, trials: Sequence[FrozenTrial]) -> Reason | None:
        fatal = read_fatal(self._study)
        reason = end_reason(trials, self._run, self._limits, datetime.now(UTC), fatal)
        if reason is None and is_exhausted(self._study):
            tally = counts(trials, self._limits)
            return None if tally.running or tally.waiting else Reason.SPACE_EXHAUSTED
        return reason

    def _fill(self, trials: Sequence[FrozenTrial]) -> None:
        """Start workers in empty slots, never more than there are trials left for."""
        wanted = min(self._parallel, self._limits.max - counts(trials, self._limits).finished)
        for slot in self._slots:
            if len(self._pool.alive) >= wanted:
                return
            if slot.name not in self._pool.alive and time.monotonic() >= slot.not_before:
                self._pool.start(slot.name, self._worker, ["work"], share(slot.number, self._parallel, os.environ))

    def _wind_down(self, activity: str) -> None:
        """End all workers: asked first, killed after their grace or at a second Ctrl-C; no trial stays RUNNING."""
        pressed = self._interrupts.count
        if not pressed:
            write_limits(self._study, self._limits.model_copy(update={"stop": True}))
        self._pool.signal(signal.SIGTERM)
        deadline = time.monotonic() + self._run.grace_seconds + KILL_SLACK_SECONDS
        while self._pool.alive:
            self._pool.reap()
            self._narrate(self._study.get_trials(deepcopy=False), activity)
            if time.monotonic() > deadline or self._interrupts.count > 1:
                self._pool.kill()
            time.sleep(TICK_SECONDS / 4)
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING:
                cause = Cause.LOST if pressed else Cause.STOPPED
                self._settle_attempt(trial, cause, "its worker was ended with the run")


def _owner(trial: FrozenTrial) -> str | None:
    owner = trial.user_attrs.get(TrialAttribute.OWNER)
    return None if owner is None else str(owner["identity"])


def _oom_kills() -> int:
    """Processes that the kernel has killed for memory since boot; 0 where nobody counts them."""
    counters = Path("/proc/vmstat")
    if not counters.is_file():
        return 0
    found = (line.split() for line in counters.read_text().splitlines() if line.startswith("oom_kill "))
    return next((int(value) for _, value in found), 0)
