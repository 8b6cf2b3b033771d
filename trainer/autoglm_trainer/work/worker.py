"""The worker: claim → train → save → record → tell, until nothing is left. The task stays loaded between trials."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import Fatal, Owner, TrialAttribute
from autoglm_api.exits import Cause, ExitCode
from autoglm_api.run import Run
from autoglm_store.attempts import fail, infeasible, leased, set_attribute, settle_out_of_memory, tell
from autoglm_store.claim import Nothing
from autoglm_store.errors import LeaseLost
from autoglm_store.ledger import is_default, retries_due, top, would_lead
from autoglm_store.limits import read_limits, write_fatal
from autoglm_store.points import Assignment, next_assignment
from autoglm_trainer.contract import FittedModel, LoadedTask
from autoglm_trainer.errors import TrainerError
from autoglm_trainer.logs import TailHandler, current_trial

from .artifacts import Artifacts
from .attempt import Attempt
from .leftovers import KEPT_WEIGHTS, WEIGHTS, keeps_weights
from .outcome import Outcome, failure, train
from .termination import write_termination
from .watchdog import Watchdog

logger = logging.getLogger(__name__)

_EXITS = {Cause.SPEC: ExitCode.SPEC, Cause.DATA: ExitCode.DATA}
_ENDS_PROCESS = {Cause.RELEASED, Cause.LOST, Cause.OUT_OF_MEMORY, Cause.CRASHED}


@dataclass
class Worker:
    """One process's share of a study.

    Attributes:
        study: loaded with the run's sampler and pruner, and patient.
        loaded: the task; any object that meets the contract.
        owner: this process; never used by another one.
        scratch: a writable folder.
        gpus: GPUs that this process holds.
    """

    study: optuna.Study
    run: Run
    loaded: LoadedTask
    owner: Owner
    artifacts: Artifacts
    watchdog: Watchdog
    scratch: Path
    termination_log: Path
    gpus: int = 0
    log: TailHandler = field(default_factory=TailHandler)
    _deleted: set[int] = field(default_factory=set)

    def work(self) -> ExitCode:
        """Train until nothing is left, the pod's share is done, or the process must end."""
        trained = 0
        while not self.watchdog.stopping.is_set():
            assignment = next_assignment(self.study, self.run, self.owner)
            if isinstance(assignment, Nothing):
                logger.info("nothing left to do%s", f": {assignment.reason}" if assignment.reason else "")
                return ExitCode.NOTHING_LEFT
            ending = self.attempt(assignment)
            if ending is not None:
                return ending
            trained += 1
            if trained == self.run.per_pod:
                return ExitCode.NOTHING_LEFT
        return ExitCode.RELEASED

    def attempt(self, assignment: Assignment) -> ExitCode | None:
        """Train one trial and tell its result; gives the exit code if the process must end with it."""
        current_trial.set(assignment.trial.number)
        self.log.clear()
        folder = self.scratch / f"trial-{assignment.trial.number}"
        logger.info("trial %d: %s", assignment.trial.number, dict(assignment.parameters))
        try:
            with self.watchdog.guarding(self.study, assignment.attempt, self.run):
                if self.gpus:
                    self._note(assignment.trial, TrialAttribute.GPUS, self.gpus)
                attempt = Attempt(
                    self.study,
                    self.run,
                    assignment,
                    artifacts=self.artifacts,
                    watchdog=self.watchdog,
                    scratch=folder,
                )
                outcome = train(self.loaded, self.run, attempt)
                return self._settle(attempt, outcome)
        except LeaseLost as error:
            return self._end(Cause.LOST, str(error), assignment.trial.number)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            current_trial.set(None)

    def _settle(self, attempt: Attempt, outcome: Outcome) -> ExitCode | None:
        """The one place where an outcome becomes Optuna's."""
        if outcome.model is not None:
            outcome = self._keep(attempt, outcome, outcome.model)
        trial, cause = attempt.assignment.trial, outcome.cause
        if cause == Cause.LOST:
            raise LeaseLost(outcome.message)
        if cause == Cause.RELEASED and read_limits(self.study).stop:
            cause = Cause.STOPPED
        self._note(trial, TrialAttribute.CPU_SECONDS, round(attempt.cpu_seconds, 3))
        self._note(trial, TrialAttribute.SECONDS, round(attempt.seconds, 3))
        match outcome.state, cause:
            case TrialState.COMPLETE, _:
                tell(self.study, trial, TrialState.COMPLETE, outcome.values)
                if outcome.kept:
                    self._delete_weights_pushed_out()
            case TrialState.PRUNED, _:
                tell(self.study, trial, TrialState.PRUNED)
            case _, Cause.INFEASIBLE:
                infeasible(self.study, self._stored(attempt), Cause.INFEASIBLE, outcome.message)
            case _, Cause.OUT_OF_MEMORY:
                trials = self.study.get_trials(deepcopy=False)
                cause = settle_out_of_memory(self.study, self._stored(attempt), trials, outcome.message)
            case _, Cause():
                fail(self.study, self._stored(attempt), cause, outcome.message, log=self.log.text())
            case _:
                raise AssertionError(f"an outcome without result and cause: {outcome}")
        logger.info("trial %d: %s", attempt.number, self._sentence(outcome, cause))
        if cause is None or not cause.retryable or not self._is_due_again(attempt):
            attempt.discard_checkpoints()
        return self._end_with(cause, outcome.message, attempt.number)

    def _is_due_again(self, attempt: Attempt) -> bool:
        """Whether another attempt will go on from this one's checkpoint."""
        due = retries_due(self._trials(), read_limits(self.study))
        return attempt.number in [trial.number for trial in due]

    def _keep(self, attempt: Attempt, outcome: Outcome, model: FittedModel) -> Outcome:
        """Record metrics, and upload the weights if they will be needed; COMPLETE means that they are there."""
        trial = attempt.assignment.trial
        self._note(trial, TrialAttribute.METRICS, dict(outcome.metrics))
        if sizes := getattr(model, "sizes", None):  # not every task counts parameters
            self._note(trial, TrialAttribute.SIZES, sizes)
        feasible = True
        with leased(trial.number):
            for index, constraint in enumerate(self.run.constraints):
                violation = constraint.violation(outcome.metrics[constraint.metric])
                trial.set_constraint(f"{index}:{constraint.metric}", violation)
                feasible = feasible and violation <= 0
        leads = feasible and would_lead(outcome.values, self._trials(), self.run, KEPT_WEIGHTS)
        if not leads and not is_default(attempt.assignment.parameters, self.run):
            return outcome
        folder, path = self.scratch / f"trial-{trial.number}" / "weights", f"{WEIGHTS}/{trial.number}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            model.save(folder)
            self.artifacts.upload(folder, path)
        except Exception as error:  # noqa: BLE001 - `save` is the task's code
            return failure(error)
        self._note(trial, TrialAttribute.WEIGHTS, path)
        return replace(outcome, kept=True)

    def _delete_weights_pushed_out(self) -> None:
        """Weights of those that are among the best no more; each process deletes a trial's weights at most once."""
        trials = self._trials()
        kept = {trial.number for trial in keeps_weights(trials, self.run)}
        for trial in top(trials, self.run, n=len(trials)):
            path = trial.user_attrs.get(TrialAttribute.WEIGHTS)
            if path is None or trial.number in kept or trial.number in self._deleted:
                continue
            self._deleted.add(trial.number)
            try:
                self.artifacts.delete(path)
            except TrainerError as error:
                logger.warning("weights stay behind at %s: %s", path, error)

    def _end_with(self, cause: Cause | None, message: str, number: int) -> ExitCode | None:
        if cause in _EXITS:
            write_fatal(self.study, Fatal(cause=cause, message=message))
        if cause in _EXITS or cause in _ENDS_PROCESS:
            assert cause is not None, "both hold causes only"
            return self._end(cause, message, number)
        return None

    def _end(self, cause: Cause, message: str, number: int) -> ExitCode:
        logger.warning("ending: %s", message)
        write_termination(self.termination_log, cause, message, number)
        return _EXITS.get(cause, ExitCode.RELEASED)

    def _note(self, trial: optuna.Trial, key: TrialAttribute, value: object) -> None:
        set_attribute(self.study, trial, key, value)

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _stored(self, attempt: Attempt) -> FrozenTrial:
        return attempt.assignment.attempt

    def _sentence(self, outcome: Outcome, cause: Cause | None) -> str:
        if outcome.state == TrialState.COMPLETE:
            named = zip(self.run.objectives, outcome.values, strict=True)
            return ", ".join(f"{objective.metric} {value:.6g}" for objective, value in named)
        return "pruned" if cause is None else f"{cause}: {outcome.message}"
