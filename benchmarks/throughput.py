"""Trials an hour of two small studies, against the script one would write: `study.optimize` around a `Trainer`."""

from __future__ import annotations

import importlib.util
import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from autoglm_api.base import Scalar
from autoglm_store.sampling import training_seed
from benchmarks.plain_script import PROCESS_START
from benchmarks.results import Aim, Row, Table, per_hour, times
from benchmarks.studies import MODEL, CreatedStudy, create, data_section, journal_url, write_subset
from benchmarks.workers import WORKER, Timing, environment, run_worker, start

PLAIN_SCRIPT = ("-m", "benchmarks.plain_script")
Point = dict[str, Scalar]


@dataclass(frozen=True)
class Study:
    """One comparison.

    Attributes:
        points: what each trial trains.
        sample: how many of the points the plain script trains; its rate is that of all of them.
        aim: how many times faster we should be.
        only_plain: what the plain script needs beside the point.
    """

    name: str
    parameters: tuple[dict[str, Any], ...]
    points: tuple[Point, ...]
    sample: int
    rows: int
    validation: int
    labels: int
    aim: float
    only_plain: Point


def lora(trials: int, sample: int, rows: int, validation: int) -> Study:
    """Low-rank adapters, one epoch, at points around the default."""
    ranks, rates = (8, 16, 32), (1e-3, 2e-3, 4e-3)
    return Study(
        name="LoRA",
        parameters=(
            {"name": "method", "categorical": {"choices": ["lora"]}},
            {"name": "learning_rate", "float": {"min": 1e-4, "max": 1e-1, "log": True}},
            {"name": "lora_r", "int": {"min": 4, "max": 64, "log": True}},
            {"name": "lora_alpha", "int": {"min": 8, "max": 256, "log": True}},
            {"name": "epochs", "int": {"min": 1, "max": 1}},
            {"name": "batch_size", "categorical": {"choices": [16]}},
            {"name": "max_length", "categorical": {"choices": [64]}},
        ),
        points=tuple(
            {
                "method": "lora",
                # No two points alike: a point that has a result is not trained again.
                "learning_rate": rates[number % 3] * (1 + number / 100),
                "lora_r": ranks[number // 3 % 3],
                "lora_alpha": 2 * ranks[number // 3 % 3],
                "epochs": 1,
                "batch_size": 16,
                "max_length": 64,
            }
            for number in range(trials)
        ),
        sample=sample,
        rows=rows,
        validation=validation,
        labels=12,
        aim=1.3,
        only_plain={"evaluations": 2},
    )


def frozen_head(trials: int, sample: int, rows: int, validation: int) -> Study:
    """A linear head on the frozen backbone, at `trials` strengths of its penalty."""
    return Study(
        name="frozen head",
        parameters=(
            {"name": "method", "categorical": {"choices": ["head"]}},
            {"name": "head_c", "float": {"min": 1e-3, "max": 1e5, "log": True}},
            {"name": "max_length", "categorical": {"choices": [64]}},
        ),
        points=tuple({"method": "head", "head_c": 0.1 * 1.25**number, "max_length": 64} for number in range(trials)),
        sample=sample,
        rows=rows,
        validation=validation,
        labels=12,
        aim=20.0,
        only_plain={"learning_rate": 1e-2, "epochs": 3, "batch_size": 16, "evaluations": 1},
    )


@dataclass(frozen=True)
class Size:
    """Which studies."""

    studies: tuple[Study, ...]


FULL = Size((lora(24, 8, 96, 48), frozen_head(60, 4, 480, 120)))
SMALL = Size((frozen_head(2, 1, 24, 8),))


def run(folder: Path, size: Size) -> Table:
    """Each study: the plain script, ours, and the plain script again."""
    rows: list[Row] = []
    notes: list[str] = []
    for study in size.studies:
        ours, plain, values = measure(study, folder / study.name.replace(" ", "-"))
        trials = len(study.points)
        rates = [per_hour(trials, timing.start_seconds, timing.trial_seconds) for timing in (ours, plain)]
        rows += [
            Row(f"{study.name}: trials an hour, ours", rates[0], ""),
            Row(f"{study.name}: trials an hour, plain script", rates[1], ""),
            Row(f"{study.name}: a trial, ours", ours.trial_seconds, "s"),
            Row(f"{study.name}: a trial, plain script", plain.trial_seconds, "s"),
            Row(f"{study.name}: CPU a trial, ours", ours.cpu / trials, "s"),
            Row(f"{study.name}: CPU a trial, plain script", plain.cpu / len(plain.trials), "s"),
            Row(f"{study.name}: faster by", times(*rates), "x", Aim("at least", study.aim)),
        ]
        notes.append(
            f"{study.name}: {trials} trials of one process on {study.rows} training and {study.validation} validation"
            f" rows, {study.labels} labels, all-MiniLM-L6-v2, one thread each; the plain script's trial is the mean of"
            f" {study.sample}, half of them before ours and half after. Both rates count the process's own start,"
            " and so does our CPU; the plain script's CPU is that of its trials alone. Median validation accuracy"
            f" {median(values[0]):.2f} (ours), {median(values[1]):.2f} (plain script)."
        )
    notes.append(
        "Same points, seeds and epochs, no pruning; both pad a batch to its longest text. For LoRA both evaluate twice"
        " an epoch, for the head both once. We measure all metrics too, latency once a process, and save the best"
        " three. A head has no epochs with us (it is solved); the plain script trains it for three."
    )
    return Table(name="throughput", title="Trials an hour", rows=tuple(rows), notes=tuple(notes))


def measure(study: Study, folder: Path) -> tuple[Timing, Timing, tuple[list[float], list[float]]]:
    """Our timing, the plain script's, and the validation accuracies of both."""
    data = write_subset(folder / "data", train=study.rows, validation=study.validation, labels=study.labels)
    spec = {
        "task": "text-classification",
        "model": {"source": MODEL},
        "data": data_section(data),
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
        "parameters": list(study.parameters),
        "enqueue": list(study.points),
        "pruner": {"type": "None"},
        "trials": {"max": len(study.points)},
    }
    created = create(spec, journal_url(folder / "journal.log"), name=folder.name, artifacts=folder / "artifacts")
    half = (study.sample + 1) // 2
    before = run_plain(study, created, data, folder / "plain-before", range(half))
    ours = run_worker(created, folder / "worker", program=WORKER, extra={})
    # A machine that was busier for one side than for the other shows in both halves.
    after = run_plain(study, created, data, folder / "plain-after", range(half, study.sample) or range(half))
    return ours, together(before[0], after[0]), (_values(created), before[1] + after[1])


def run_plain(
    study: Study, created: CreatedStudy, data: Path, folder: Path, numbers: range
) -> tuple[Timing, list[float]]:
    """Run the plain script on some of the points with the seeds that our worker uses.

    Raises:
        RuntimeError: it failed; with the end of its log.
    """
    folder.mkdir()
    todo = {
        "model": str(_model_folder()),
        "train": str(data / "train.jsonl"),
        "validation": str(data / "validation.jsonl"),
        "scratch": str(folder),
        "points": [{**study.only_plain, **study.points[number]} for number in numbers],
        "seeds": [training_seed(created.run, number) for number in numbers],
    }
    instructions, result = folder / "instructions.json", folder / "result.json"
    instructions.write_text(json.dumps(todo))
    started = time.time()
    environ = {**environment(folder), PROCESS_START: repr(started)}
    code = start((*PLAIN_SCRIPT, str(instructions), str(result)), folder / "log", environ).wait()
    if code:
        raise RuntimeError(f"the plain script ended with {code}:\n{(folder / 'log').read_text()[-3_000:]}")
    trials = json.loads(result.read_text())
    moments = tuple((trial["began"], trial["ended"]) for trial in trials)
    cpu = sum(trial["cpu"] for trial in trials)
    return Timing(moments, time.time() - started, cpu), [trial["value"] for trial in trials]


def together(first: Timing, second: Timing) -> Timing:
    """Both as if one process had started once, at their mean, and then run all trials; their ends do not count."""
    start = (first.start_seconds + second.start_seconds) / 2
    spans = [run.trials[-1][1] - run.trials[0][0] for run in (first, second)]
    count = len(first.trials) + len(second.trials)
    each = sum(spans) / count
    moments = tuple((start + done * each, start + (done + 1) * each) for done in range(count))
    return Timing(moments, start + sum(spans), first.cpu + second.cpu)


def _values(created: CreatedStudy) -> list[float]:
    from autoglm_store.connection import load_study

    trials = load_study(created.url, created.name).get_trials(deepcopy=False)
    return [trial.value for trial in trials if trial.value is not None]


def _model_folder() -> Path:
    found = importlib.util.find_spec(MODEL.removeprefix("package://"))
    if found is None or found.origin is None:
        raise RuntimeError(f"{MODEL} is not installed; `make init` does it")
    return next(path.parent for path in sorted(Path(found.origin).parent.rglob("model.safetensors")))
