"""One attempt as its task sees it: reports, heartbeats, checkpoints. Implements `contract.TrialControl`."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna

from autoglm_api.attempts import Checkpoint, TrialAttribute
from autoglm_api.base import Scalar
from autoglm_api.exits import Cause
from autoglm_api.run import Run
from autoglm_store.attempts import leased, set_attribute
from autoglm_store.errors import LeaseLost
from autoglm_store.ledger import origin_of, retry_of, top, whole_point
from autoglm_store.points import Assignment
from autoglm_trainer.contract import Derives, LoadedTask, MemoryEstimate
from autoglm_trainer.errors import Infeasible, Interrupted, TrainerError

from .artifacts import Artifacts
from .watchdog import Watchdog

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
# Estimates are right within a factor of 1.5: what is refused could not have been trained.
REFUSED_BEYOND = 1.5
NEAR = 0.8


class Attempt:
    """The worker's side of one attempt.

    Args:
        study: the study.
        run: the frozen run.
        assignment: which trial, at which point.
        artifacts: where checkpoints go.
        watchdog: knows whether to go on.
        scratch: an empty folder for this attempt alone.
    """

    def __init__(
        self,
        study: optuna.Study,
        run: Run,
        assignment: Assignment,
        *,
        artifacts: Artifacts,
        watchdog: Watchdog,
        scratch: Path,
    ) -> None:
        self.assignment = assignment
        self.began, self._began_cpu = time.monotonic(), time.process_time()
        self._study = study
        self._run = run
        self._artifacts = artifacts
        self._watchdog = watchdog
        self._scratch = scratch
        self._saved_at = self.began
        self._save_seconds = 0.0
        self._saves = 0
        self._offered = self._saved_last = False
        stored = assignment.attempt.user_attrs.get(TrialAttribute.CHECKPOINT)
        self._checkpoint = Checkpoint.model_validate(stored) if stored else None
        self._resume_from = self._fetch_checkpoint()

    @property
    def number(self) -> int:
        """The attempt's number."""
        return self.assignment.trial.number

    @property
    def seconds(self) -> float:
        """Since the attempt began."""
        return time.monotonic() - self.began

    @property
    def cpu_seconds(self) -> float:
        """CPU time of this process since the attempt began, all threads together."""
        return time.process_time() - self._began_cpu

    @property
    def seed(self) -> int:
        """Seeds everything random in this attempt."""
        return self.assignment.seed

    @property
    def resume_from(self) -> Path | None:
        """What an earlier attempt saved, on this machine."""
        return self._resume_from

    def whole_point(self, loaded: LoadedTask) -> Mapping[str, Scalar]:
        """The point, with what the task makes of it from what is known now; noted once, for every later attempt."""
        parameters, noted = self.assignment.parameters, self.assignment.attempt.user_attrs.get(TrialAttribute.DERIVED)
        if noted is None and isinstance(loaded, Derives):
            trials = self._study.get_trials(deepcopy=False)
            noted = loaded.derive(
                parameters,
                best=[whole_point(trial) for trial in top(trials, self._run)],
                tried=[whole_point(trial) for trial in trials if trial.number != self.number],
                seed=self.seed,
            )
            if noted:
                set_attribute(self._study, self.assignment.trial, TrialAttribute.DERIVED, dict(noted))
        return {**parameters, **(noted or {})}

    def expect(self, estimate: MemoryEstimate) -> None:
        """Note what memory the trial will need.

        Raises:
            Infeasible: far more than there is.
        """
        noted = {"neededBytes": estimate.needed, "limitBytes": estimate.limit}
        set_attribute(self._study, self.assignment.trial, TrialAttribute.MEMORY, noted)
        share = estimate.needed / estimate.limit
        needed, limit = (f"{amount / 2**30:.2f} GiB" for amount in (estimate.needed, estimate.limit))
        if share > REFUSED_BEYOND:
            raise Infeasible(
                f"this point needs about {needed} of memory and {estimate.place} has {limit}: a smaller batch_size or"
                " max_length, more accumulation, lora in place of full, on a GPU qlora, or a smaller model needs less"
            )
        if share > NEAR:
            logger.warning("trial %d: about %s of %s's %s are needed", self.number, needed, estimate.place, limit)

    def report(self, step: int, value: float) -> None:
        """Store the value, then ask the pruner; a step that an earlier attempt reported is passed over."""
        if step not in self.assignment.attempt.intermediate_values:
            try:
                with leased(self.number):
                    self._store_report(step, value)
            except LeaseLost as error:
                raise Interrupted(Cause.LOST, str(error)) from error
            if len(self._run.objectives) == 1 and self.assignment.trial.should_prune():
                raise optuna.TrialPruned(f"pruned after step {step}")
        self.heartbeat()

    def _store_report(self, step: int, value: float) -> None:
        """Optuna takes reports for pruning alone and refuses them where nothing is pruned; people look at them, too."""
        trial = self.assignment.trial
        if len(self._run.objectives) == 1:
            trial.report(value, step)
        else:
            self._study._storage.set_trial_intermediate_value(trial._trial_id, step, value)  # noqa: SLF001

    def heartbeat(self) -> None:
        """End the attempt here if it must end."""
        interruption = self._watchdog.interruption()
        if interruption is None:
            return
        if interruption.cause == Cause.RELEASED and self._may_save_once_more():
            return
        raise interruption

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Save if it is time, or if the worker is being ended and there is time for it."""
        self._offered = True
        if self._watchdog.stopping.is_set():
            if not self._may_save_once_more():
                return
            self._saved_last = True
        elif time.monotonic() - self._saved_at < self._run.checkpoint_every_seconds:
            return
        began = time.monotonic()
        try:
            self._save(step, write)
        except LeaseLost as error:
            raise Interrupted(Cause.LOST, str(error)) from error
        except (TrainerError, OSError) as error:
            logger.warning("trial %d: no checkpoint after step %d: %s", self.number, step, error)
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - began

    def discard_checkpoints(self) -> None:
        """Delete what was saved, here or by earlier attempts; there is a result, or there will be none.

        An attempt that was killed while it saved has left more than the checkpoint that it recorded.
        """
        numbers = [self.number] if self._saves else []
        if retry_of(self.assignment.attempt) is not None:
            chain = origin_of(self.assignment.attempt)
            trials = self._study.get_trials(deepcopy=False)
            numbers += [trial.number for trial in trials if origin_of(trial) == chain and trial.number < self.number]
        for number in numbers:
            self._delete(f"{CHECKPOINTS}/{number}")

    def _may_save_once_more(self) -> bool:
        """Only for tasks that offer checkpoints, once, and if the last save's duration fits twice."""
        return self._offered and not self._saved_last and self._watchdog.seconds_left() > 1.0 + 2 * self._save_seconds

    def _save(self, step: int, write: Callable[[Path], None]) -> None:
        """Write, upload, record, and only then delete the one before."""
        folder = self._scratch / "checkpoint"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write(folder)
        self._saves += 1
        fresh = Checkpoint(path=f"{CHECKPOINTS}/{self.number}/step-{step}.{self._saves}", step=step)
        self._artifacts.upload(folder, fresh.path)
        set_attribute(self._study, self.assignment.trial, TrialAttribute.CHECKPOINT, fresh.to_json_dict())
        previous, self._checkpoint = self._checkpoint, fresh
        shutil.rmtree(folder)
        logger.info("trial %d: checkpoint after step %d", self.number, step)
        if previous is not None:
            self._delete(previous.path)

    def _delete(self, path: str) -> None:
        try:
            self._artifacts.delete(path)
        except TrainerError as error:
            logger.warning("a checkpoint stays behind at %s: %s", path, error)

    def _fetch_checkpoint(self) -> Path | None:
        if self._checkpoint is None:
            return None
        folder = self._scratch / "resume"
        try:
            self._artifacts.download(self._checkpoint.path, folder)
        except TrainerError as error:
            logger.warning("trial %d begins anew, its checkpoint cannot be had: %s", self.number, error)
            return None
        logger.info("trial %d goes on after step %d", self.number, self._checkpoint.step)
        return folder
