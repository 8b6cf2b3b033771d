"""Runs real worker processes on a study, one after another, and reads from the storage when each trial ran."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import TrialState

from autoglm_api import environment as env
from autoglm_store.connection import load_study
from benchmarks.studies import CreatedStudy

REPOSITORY = Path(__file__).parents[1]
THREADS = 1
WORKER = ("-m", "autoglm_trainer.main", "work")
_EXPORTER = ("-m", "autoglm_trainer.main", "export")


@dataclass(frozen=True)
class Timing:
    """One process, in seconds since it was started.

    Attributes:
        trials: when each trial of it was asked for and when it was told.
        ended: when the process was gone.
        cpu: its CPU seconds; on a busy machine sturdier than the rest.
    """

    trials: tuple[tuple[float, float], ...]
    ended: float
    cpu: float

    @property
    def start_seconds(self) -> float:
        """From the start of the process to its first trial: interpreter, imports, model, data."""
        return self.trials[0][0]

    @property
    def trial_seconds(self) -> float:
        """A trial, from being asked for to the next one's, on average; the process's end counts for the last."""
        return (self.ended - self.trials[0][0]) / len(self.trials)


def run_worker(study: CreatedStudy, folder: Path, *, program: Sequence[str], extra: dict[str, str]) -> Timing:
    """Run one worker to its end.

    Args:
        study: what it works on.
        folder: for its log and scratch files; created.
        program: what to start, such as `-m autoglm_trainer.main work`, with this interpreter.
        extra: environment variables beside those that every worker gets.

    Raises:
        RuntimeError: the worker failed or trained nothing; with the end of its log.
    """
    folder.mkdir(parents=True)
    known = finished_trials(study)
    environ = {**environment(folder), env.STORAGE_URL: study.url, env.STUDY: study.name, **extra}
    environ |= {env.OWNER_NAME: folder.name, env.OWNER_IDENTITY: f"{folder}"}
    started = time.time()
    cpu_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = start(program, folder / "log", environ).wait()
    cpu_after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = time.time() - started
    finished = finished_trials(study)
    mine = tuple((begin - started, end - started) for number, (begin, end) in finished.items() if number not in known)
    if code or not mine:
        log = (folder / "log").read_text(errors="replace")[-3_000:]
        raise RuntimeError(f"{' '.join(program)} ended with {code} and {len(mine)} trials:\n{log}")
    cpu = cpu_after.ru_utime + cpu_after.ru_stime - cpu_before.ru_utime - cpu_before.ru_stime
    return Timing(mine, ended, cpu)


def export(study: CreatedStudy, folder: Path) -> Path:
    """Export a study's winner, as its export Job does.

    Args:
        study: all of whose trials are finished.
        folder: for log and scratch files; the study's artifacts are in `folder / "artifacts"`.

    Returns:
        the folder of the exported model, which holds `comparison.json` too.

    Raises:
        RuntimeError: the export failed; with the end of its log.
    """
    environ = {**environment(folder), env.STORAGE_URL: study.url, env.STUDY: study.name}
    environ |= {env.OWNER_NAME: "export", env.OWNER_IDENTITY: f"{folder}"}
    finish(_EXPORTER, folder / "export.log", environ)
    return next((folder / "artifacts").rglob("comparison.json")).parent


def finish(program: Sequence[str], log: Path, environ: dict[str, str]) -> None:
    """Run a Python program of ours to its end.

    Raises:
        RuntimeError: it failed; with the end of its log.
    """
    if code := start(program, log, environ).wait():
        raise RuntimeError(f"{' '.join(program)} ended with {code}:\n{log.read_text(errors='replace')[-3_000:]}")


def start(program: Sequence[str], log: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a Python program of ours; it dies with us."""
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, *program],
            env=environ,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def environment(folder: Path) -> dict[str, str]:
    """What every process of a benchmark is told: equal threads, no hub, scratch files below `folder`."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(THREADS),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        env.CPU_LIMIT: str(THREADS),
        env.SCRATCH: str(folder),
        env.TERMINATION_LOG: str(folder / "termination"),
    }


def finished_trials(study: CreatedStudy) -> dict[int, tuple[float, float]]:
    """Trial number → when it was asked for and told, Unix seconds."""
    found = {}
    for trial in load_study(study.url, study.name).get_trials(
        deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)
    ):
        if trial.datetime_start is not None and trial.datetime_complete is not None:
            found[trial.number] = (trial.datetime_start.timestamp(), trial.datetime_complete.timestamp())
    return found
