"""The life of a trainer process: open the study, load the task, do the work, leave a code and a last word."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import optuna

from autoglm_api.attempts import Fatal, Owner
from autoglm_api.catalog import find_task
from autoglm_api.environment import WorkerEnvironment
from autoglm_api.exits import Cause, ExitCode
from autoglm_api.run import Run, gpu_methods
from autoglm_store.claim import nothing_left
from autoglm_store.connection import load_study
from autoglm_store.errors import LeaseLost, StorageUnreachable, StoreError
from autoglm_store.ledger import best, origin_of
from autoglm_store.limits import (
    read_export,
    read_limits_and_fatal,
    read_run,
    write_export,
    write_fatal,
    write_surroundings,
)
from autoglm_store.pruners import build_pruner
from autoglm_store.samplers import build_sampler
from autoglm_trainer.contract import LoadedTask
from autoglm_trainer.errors import DataError, SpecError, TrainerError
from autoglm_trainer.logs import TailHandler, configure

from .crew import Crew, muster
from .disk import disk_full
from .leftovers import sweep
from .places import artifact_place, input_places
from .surroundings import look_around
from .termination import write_termination
from .watchdog import Watchdog
from .worker import Worker

logger = logging.getLogger(__name__)

_EXITS = {Cause.SPEC: ExitCode.SPEC, Cause.DATA: ExitCode.DATA}


@dataclass
class Process:
    """What both commands begin with: logs, signals, the study and its run."""

    environment: WorkerEnvironment
    watchdog: Watchdog = field(init=False)
    log: TailHandler = field(default_factory=TailHandler)
    crew: Crew | None = None

    def __post_init__(self) -> None:
        configure(self.environment.study)
        logging.getLogger().addHandler(self.log)
        self.watchdog = Watchdog(self.environment.termination_log, limits_seconds=self.environment.limits_seconds)
        self.watchdog.start()

    def open(self) -> tuple[optuna.Study, Run]:
        """The study with the run's sampler and pruner."""
        study = load_study(self.environment.storage_url, self.environment.study, stopping=self.watchdog.stopping)
        run = read_run(study)
        study.sampler, study.pruner = build_sampler(run), build_pruner(run)
        self.watchdog.grace_seconds = run.grace_seconds
        return study, run

    def load(self, run: Run) -> LoadedTask:
        """Model and data in memory; torch comes only now, so a process that finds nothing to do ends in a second.

        Raises:
            SpecError, DataError: every trial would fail, for want of a GPU too.
        """
        from autoglm_trainer.tasks import get_task

        task = get_task(run.task)
        if methods := gpu_methods(find_task(run.task), run.parameters):
            from autoglm_trainer.methods import check_methods

            check_methods(methods)
        return task.load(run, input_places(self.environment))

    def share(self, run: Run, loaded: LoadedTask) -> None:
        """Start the other ranks of data parallel training, where there is more than one GPU.

        Raises:
            RankLost: one cannot be had.
        """
        import torch

        from autoglm_trainer.tuning.ranks import join
        from autoglm_trainer.tuning.task import LoadedTuned

        # One process a GPU; what the pod asks for may be more than torch can use.
        count = self.environment.ranks or min(self.environment.gpus, torch.cuda.device_count())
        if count < 2 or not isinstance(loaded, LoadedTuned):
            return
        self.crew = muster(run, self.environment, loaded.digests, count)
        ranks = join(0, count, self.crew.folder, loaded.base.device)
        ranks.call, ranks.explain = self.crew.call, self.crew.explain
        loaded.ranks = ranks

    def ended(self, body: Callable[[], ExitCode]) -> ExitCode:
        """Run `body`; every way out leaves an exit code, and all but success a termination message."""
        try:
            return body()
        except LeaseLost as error:
            return self._last_word(ExitCode.RELEASED, Cause.LOST, str(error))
        except StorageUnreachable as error:
            released = self.watchdog.stopping.is_set()
            return self._last_word(ExitCode.RELEASED if released else ExitCode.STORAGE, Cause.STORAGE, str(error))
        except StoreError as error:
            return self._last_word(ExitCode.STORAGE, Cause.STORAGE, str(error))
        except TrainerError as error:
            return self._last_word(_EXITS.get(error.cause, ExitCode.OTHER), error.cause, str(error))
        except Exception as error:
            if full := disk_full(error):
                return self._last_word(ExitCode.OTHER, full.cause, str(full))
            logger.exception("the trainer failed")
            return self._last_word(ExitCode.OTHER, Cause.CRASHED, f"{type(error).__name__}: {error}")
        finally:
            if self.crew is not None:
                self.crew.close()

    def _last_word(self, code: ExitCode, cause: Cause, message: str) -> ExitCode:
        logger.error("%s", message)
        write_termination(self.environment.termination_log, cause, message)
        return code


def work(environment: WorkerEnvironment) -> ExitCode:
    """Train trials until nothing is left."""
    process = Process(environment)

    def body() -> ExitCode:
        study, run = process.open()
        if nothing_left(study, run, *read_limits_and_fatal(study)):
            return ExitCode.NOTHING_LEFT
        try:
            artifacts = artifact_place(environment, run)
            loaded = process.load(run)
            if max(environment.ranks, environment.gpus) > 1:
                process.share(run, loaded)
            surroundings = write_surroundings(study, look_around(loaded))
        except (SpecError, DataError) as error:
            # Every worker would meet it: the study ends.
            write_fatal(study, Fatal(cause=error.cause, message=str(error)))
            raise
        worker = Worker(
            study=study,
            run=run,
            loaded=loaded,
            owner=Owner(name=environment.owner_name, identity=environment.owner_identity, surroundings=surroundings),
            artifacts=artifacts,
            watchdog=process.watchdog,
            scratch=environment.scratch,
            termination_log=environment.termination_log,
            gpus=environment.gpus,
            log=process.log,
        )
        process.watchdog.nothing_to_lose = False
        return worker.work()

    return process.ended(body)


def export(environment: WorkerEnvironment) -> ExitCode:
    """Export the best model, once."""
    process = Process(environment)

    def body() -> ExitCode:
        study, run = process.open()
        from autoglm_trainer.export import export_run

        done, winner = read_export(study), best(study.get_trials(deepcopy=False), run)
        if done is not None and winner is not None and done.trial == origin_of(winner):
            return ExitCode.NOTHING_LEFT
        artifacts = artifact_place(environment, run)
        exported = export_run(study, run, input_places(environment), artifacts, gpus=environment.gpus)
        write_export(study, exported)
        sweep(artifacts, study.get_trials(deepcopy=False), run)
        return ExitCode.NOTHING_LEFT

    return process.ended(body)
