"""What a trial costs beside fit and evaluate: a process that stays, against a process a trial (`perPod: 1`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from tests.postgres import start_postgres

from benchmarks.free_worker import BEGINNINGS
from benchmarks.results import Aim, Row, Table, percentile, times
from benchmarks.studies import MODEL, create, data_section, journal_url, write_subset
from benchmarks.workers import run_worker

FREE_WORKER = ("-m", "benchmarks.free_worker", "work")


# A study of usual size; the task's own space is larger, and conditional.
FOUR_PARAMETERS: tuple[dict[str, Any], ...] = (
    {"name": "learning_rate", "float": {"min": 1e-5, "max": 1e-2, "log": True}},
    {"name": "lora_r", "int": {"min": 4, "max": 64, "log": True}},
    {"name": "epochs", "int": {"min": 1, "max": 6}},
    {"name": "batch_size", "categorical": {"choices": [16, 32]}},
)
MEDIAN_AIMS_MS = {"PostgreSQL": 100.0, "journal": 20.0}
RATIO_AIM = 20.0


@dataclass(frozen=True)
class Size:
    """How much is measured: trials of the process that stays, processes of one trial each, storages.

    Attributes:
        whole_space: trials on the task's own space, for comparison; 0 = none.
    """

    trials: int
    processes: int
    whole_space: int
    rows: int = 300
    storages: tuple[str, ...] = ("PostgreSQL", "journal")


FULL = Size(trials=1_000, processes=10, whole_space=1_000)
SMALL = Size(trials=8, processes=1, whole_space=0, rows=24, storages=("journal",))


@dataclass(frozen=True)
class Stay:
    """One process that ran many trials; seconds.

    Attributes:
        each: between the beginnings of neighbouring fits.
        cpu: the process's own CPU seconds of the same.
        whole: from its start to its end.
    """

    each: tuple[float, ...]
    cpu: tuple[float, ...]
    whole: float

    @property
    def mean(self) -> float:
        """A trial with its share of the process's start and end."""
        return self.whole / (len(self.each) + 1)


def run(folder: Path, size: Size) -> Table:
    """Measure on each storage."""
    rows: list[Row] = []
    for storage in size.storages:
        rows += measure(storage, folder / storage, size)
    return Table(
        name="fixed_cost",
        title="Fixed cost of a trial",
        rows=tuple(rows),
        notes=(
            (
                f"{size.trials:,} trials of one worker process over {len(FOUR_PARAMETERS)} parameters (TPE, median"
                " pruner, up to three reports a trial, weights of the best three kept); model and rows are real, `fit`"
                " and `evaluate` cost nothing."
            ),
            (
                f"`perPod: 1`: a sample of {size.processes} processes, each on a study of its own with no history; the"
                " pod's own start (seconds on a cluster) is not counted. Both favour `perPod: 1`."
            ),
            "PostgreSQL runs on the same machine without fsync.",
        ),
    )


def measure(storage: str, folder: Path, size: Size) -> list[Row]:
    """Run the process that stays, then the processes of one trial each."""
    folder.mkdir(parents=True)
    data = write_subset(folder / "data", train=size.rows, validation=max(8, size.rows // 5), labels=8)
    spec: dict[str, Any] = {
        "task": "text-classification",
        "model": {"source": MODEL},
        "data": data_section(data),
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
        "parameters": list(FOUR_PARAMETERS),
        "trials": {"max": size.trials},
    }
    with _storage(storage, folder) as url:
        stay = _stay(spec, url, folder / "stay")
        single = {**spec, "trials": {"max": 1, "perPod": 1}}
        processes = [_stay(single, url, folder / f"process-{number}").whole for number in range(size.processes)]
        rows = [
            Row(f"{storage}: median of a trial", _ms(stay.each), "ms", Aim("at most", MEDIAN_AIMS_MS[storage])),
            Row(f"{storage}: 95th percentile", _ms(stay.each, 0.95), "ms"),
            Row(f"{storage}: median CPU of the worker", _ms(stay.cpu), "ms"),
            Row(f"{storage}: mean, the process's start shared out", 1_000 * stay.mean, "ms"),
            Row(f"{storage}: a process a trial, mean", 1_000 * fmean(processes), "ms"),
            Row(f"{storage}: less by", times(fmean(processes), stay.mean), "x", Aim("at least", RATIO_AIM)),
        ]
        if size.whole_space:
            whole = {key: value for key, value in spec.items() if key != "parameters"}
            stay = _stay({**whole, "trials": {"max": size.whole_space}}, url, folder / "whole-space")
            rows.append(Row(f"{storage}: median on the task's whole space", _ms(stay.each), "ms"))
            rows.append(Row(f"{storage}: median CPU of the worker there", _ms(stay.cpu), "ms"))
    return rows


def _stay(spec: dict[str, Any], url: str, folder: Path) -> Stay:
    study = create(spec, url, name=folder.name, artifacts=folder.with_suffix(".artifacts"))
    notes = folder.with_suffix(".beginnings")
    timing = run_worker(study, folder, program=FREE_WORKER, extra={BEGINNINGS: str(notes)})
    wall, cpu = zip(*(map(float, line.split()) for line in notes.read_text().splitlines()), strict=True)
    return Stay(_gaps(wall), _gaps(cpu), timing.ended)


def _gaps(moments: Sequence[float]) -> tuple[float, ...]:
    return tuple(later - earlier for earlier, later in pairwise(moments))


def _ms(seconds: Sequence[float], share: float = 0.5) -> float:
    return 1_000 * percentile(seconds, share)


@contextmanager
def _storage(kind: str, folder: Path) -> Iterator[str]:
    if kind == "journal":
        yield journal_url(folder / "journal.log")
        return
    server = start_postgres(folder / "postgres")
    try:
        yield server.create_database("bench")
    finally:
        server.stop()
