"""What a trial costs beside fit and evaluate: a process that stays, against a process a trial (`perPod: 1`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.free_worker import BEGINNINGS
from benchmarks.results import Aim, Row, Table, percentile, times
from benchmarks.studies import MODEL, CreatedStudy, create, data_section, journal_url, write_subset
from benchmarks.workers import run_worker
from tests.postgres import start_postgres

FREE_WORKER = ("-m", "benchmarks.free_worker", "work")


@dataclass(frozen=True)
class Size:
    """How much is measured: trials of the process that stays, processes of one trial each, storages."""

    trials: int
    processes: int
    storages: tuple[str, ...] = ("PostgreSQL", "journal")
    rows: int = 300


FULL = Size(trials=1_000, processes=10)
SMALL = Size(trials=12, processes=1, rows=24)

MEDIAN_AIMS_MS = {"PostgreSQL": 100.0, "journal": 20.0}
RATIO_AIM = 20.0


@dataclass(frozen=True)
class Cost:
    """Fixed costs on one storage, in seconds.

    Attributes:
        each: of the staying process, between the beginnings of neighbouring fits.
        whole: of the staying process from its start to its end.
        processes: from start to end of each process of one trial.
    """

    each: tuple[float, ...]
    whole: float
    processes: tuple[float, ...]

    @property
    def staying(self) -> float:
        """A trial of the process that stays, with its share of the process's start."""
        return self.whole / (len(self.each) + 1)

    @property
    def ratio(self) -> float:
        """How many times dearer a process a trial is."""
        return times(fmean(self.processes), self.staying)


def run(folder: Path, size: Size) -> Table:
    """Measure on each storage."""
    rows: list[Row] = []
    for storage in size.storages:
        cost = measure(storage, folder / storage, size)
        median = percentile(cost.each, 0.5) * 1_000
        rows += [
            Row(f"{storage}: median of a trial", median, "ms", Aim("at most", MEDIAN_AIMS_MS[storage])),
            Row(f"{storage}: 95th percentile", percentile(cost.each, 0.95) * 1_000, "ms"),
            Row(f"{storage}: mean with the process's start shared out", cost.staying * 1_000, "ms"),
            Row(f"{storage}: a process a trial, mean", fmean(cost.processes) * 1_000, "ms"),
            Row(f"{storage}: less by", cost.ratio, "x", Aim("at least", RATIO_AIM)),
        ]
    return Table(
        name="fixed_cost",
        title="Fixed cost of a trial",
        rows=tuple(rows),
        notes=(
            f"{size.trials:,} trials of one worker process on the task's own space (TPE, median pruner, three reports"
            " a trial, weights of the best three kept); `fit` and `evaluate` cost nothing, model and rows are real.",
            f"`perPod: 1`: a sample of {size.processes} processes, each on a study of its own with no history; the"
            " pod's own start (seconds on a cluster) is not counted. Both favour `perPod: 1`.",
        ),
    )


def measure(storage: str, folder: Path, size: Size) -> Cost:
    """Run the process that stays, then the processes of one trial each."""
    folder.mkdir(parents=True)
    data = write_subset(folder / "data", train=size.rows, validation=max(8, size.rows // 5), labels=4)
    spec: dict[str, Any] = {
        "task": "text-classification",
        "model": {"source": MODEL},
        "data": data_section(data),
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
        "trials": {"max": size.trials},
    }
    with _storage(storage, folder) as url:
        staying = create(spec, url, name="staying", artifacts=folder / "artifacts")
        whole, beginnings = _run(staying, folder / "staying")
        processes = []
        for number in range(size.processes):
            one = {**spec, "trials": {"max": 1, "perPod": 1}}
            study = create(one, url, name=f"process-{number}", artifacts=folder / "artifacts")
            processes.append(_run(study, folder / f"process-{number}")[0])
    each = tuple(later - earlier for earlier, later in zip(beginnings, beginnings[1:], strict=False))
    return Cost(each, whole, tuple(processes))


def _run(study: CreatedStudy, folder: Path) -> tuple[float, list[float]]:
    """Seconds of the whole process, and when each fit began."""
    notes = folder.with_suffix(".beginnings")
    timing = run_worker(study, folder, program=FREE_WORKER, extra={BEGINNINGS: str(notes)})
    return timing.ended, [float(line) for line in notes.read_text().splitlines()]


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
