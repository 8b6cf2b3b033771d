"""Workers as processes of their own, to be killed, stopped and asked to end."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import optuna
from tests.store.killing import own_identity
from tests.store.studies import make_run, make_study

from autoglm_api.attempts import Owner
from autoglm_api.exits import ExitCode
from autoglm_api.locations import Location
from autoglm_api.names import optuna_study_name
from autoglm_api.run import Run
from autoglm_store.connection import load_study
from autoglm_store.pruners import build_pruner
from autoglm_store.samplers import build_sampler
from autoglm_trainer.work.artifacts import Artifacts
from autoglm_trainer.work.watchdog import Watchdog
from autoglm_trainer.work.worker import Worker

from .tasks import FakeTask


def make_worker(
    url: str, run: Run, task: FakeTask, folder: Path, *, watchdog: Watchdog | None = None, identity: str = "1@0"
) -> Worker:
    """A worker on `folder`: artifacts, scratch and termination message lie there."""
    watchdog = watchdog or Watchdog(folder / "termination", limits_seconds=0.2)
    name = optuna_study_name(run.namespace, run.name, run.uid)
    study = load_study(url, name, stopping=watchdog.stopping)
    study.sampler, study.pruner = build_sampler(run), build_pruner(run)
    return Worker(
        study=study,
        run=run,
        loaded=task,
        owner=Owner(name="worker", identity=identity),
        artifacts=Artifacts(f"file://{folder}/artifacts", Location("file", str(folder / "artifacts"))),
        watchdog=watchdog,
        scratch=folder / "scratch",
        termination_log=folder / "termination",
    )


def worker_process(url: str, run: Run, task: FakeTask, folder: Path) -> None:
    """As the trainer's `work`, without loading anything."""
    watchdog = Watchdog(folder / "termination", limits_seconds=0.2, grace_seconds=run.grace_seconds)
    watchdog.start()
    worker = make_worker(url, run, task, folder, watchdog=watchdog, identity=own_identity())
    watchdog.nothing_to_lose = False
    sys.exit(worker.work())


def work(url: str, folder: Path, task: FakeTask, **changes: Any) -> tuple[ExitCode, optuna.Study, Any]:
    """A study from creation to the worker's exit."""
    gpus = changes.pop("gpus", 0)
    run, limits = make_run(**{"trials": {"max": 3}, **changes})
    study = make_study(url, run, limits)
    worker = make_worker(url, run, task, folder)
    worker.gpus = gpus
    logging.getLogger().addHandler(worker.log)
    try:
        return worker.work(), study, limits
    finally:
        logging.getLogger().removeHandler(worker.log)


def points(*xs: float) -> list[dict[str, float]]:
    return [{"x": x} for x in xs]
