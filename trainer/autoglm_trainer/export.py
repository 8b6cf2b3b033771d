"""From a finished study to a model: best feasible trial, judged once on the test rows, exported, published."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from autoglm_api.attempts import Export, TrialAttribute
from autoglm_api.manifest import MANIFEST, Manifest, ModelFile, Provenance, digest
from autoglm_api.run import Run
from autoglm_store.ledger import LogicalTrial, best, logical_trials, origin_of, whole_point
from autoglm_store.limits import read_limits
from autoglm_store.sampling import training_seed

from .contenders import Made, Unattended, contenders
from .contract import Completes, ExportDescription, FittedModel, LoadedTask, Places, ShowsData, SplitName
from .errors import NothingToExport
from .refit import make_model
from .report import COMPARISON, ReportContent, render_comparison, render_model_card, render_report
from .tasks import get_task
from .work.artifacts import Artifacts
from .work.surroundings import versions

FOLDER = "export"
log = logging.getLogger(__name__)


def export_run(study: optuna.Study, run: Run, places: Places, artifacts: Artifacts, *, gpus: int = 0) -> Export:
    """Export the best feasible trial to `<run.artifacts_uri>/export/`.

    The caller records the answer with `autoglm_store.limits.write_export`. An earlier export there is replaced.

    Args:
        study: all its trials are read, nothing is written.
        run: the study's frozen run.
        places: where model and rows are.
        artifacts: the run's folder in the artifact store.
        gpus: GPUs that this process holds.

    Raises:
        NothingToExport: no trial is complete, finite and feasible.
        SpecError, DataError: model or rows cannot be used any more.
        ExportError: the exported graph answers differently from the trained model.
    """
    started = time.process_time()
    trials = study.get_trials(deepcopy=False)
    winner = best(trials, run)
    if winner is None:
        raise NothingToExport(
            "no trial is complete, finite and within the constraints, so there is no model to export; see why the"
            " trials failed, or loosen the constraints"
        )
    loaded = get_task(run.task).load(run, places)
    places.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=places.scratch) as scratch:

        def restore(trial: FrozenTrial) -> FittedModel:
            return restore_trial(loaded, run, trial, artifacts, Path(scratch, f"weights-{trial.number}"))

        made = make_model(loaded, run, winner, restore, gpus=gpus)
        folder = Path(scratch, FOLDER)
        folder.mkdir()
        description = made.model.export(folder)
        logical = logical_trials(trials, read_limits(study))
        content = _judge(loaded, run, winner, made, logical, restore, started, description.labels, gpus)
        manifest, written = _write(content, description, folder)
        artifacts.delete(FOLDER)
        artifacts.upload(folder, FOLDER)
    exported = Export(
        uri=f"{run.artifacts_uri}/{FOLDER}",
        digest=digest(written),
        trial=origin_of(winner),
        metrics=manifest.test or manifest.validation,
        test_digest=loaded.digests.test,
        trained_on=manifest.trained_on,
    )
    _complete(loaded, exported)
    return exported


def _complete(loaded: LoadedTask, exported: Export) -> None:
    if not isinstance(loaded, Completes):
        return
    try:
        loaded.on_complete(exported)
    except Exception:  # the task's code; the model is there, whatever it does
        log.exception("on_complete of the task failed; the model is exported all the same")


def _judge(
    loaded: LoadedTask,
    run: Run,
    winner: FrozenTrial,
    made: Made,
    trials: Sequence[LogicalTrial],
    restore: Callable[[FrozenTrial], FittedModel],
    started: float,
    labels: tuple[str, ...],
    gpus: int,
) -> ReportContent:
    """The winner beside its contenders on the test rows; `started` is the process's CPU time when the export began."""
    split: SplitName = "test" if loaded.has_test else "validation"
    found, missing = contenders(loaded, run, winner, made, split, trials, restore, gpus)
    return ReportContent(
        run=run,
        best=winner,
        trials=tuple(trials),
        contenders=tuple(found),
        trained_on=("train", "validation") if made.alone is not None else ("train",),
        labels=labels,
        judged_on=split,
        missing=tuple(missing),
        digests=loaded.digests,
        overlap=loaded.overlap(split),
        rows=loaded.row_counts,
        versions=versions(),
        training_seed=training_seed(run, origin_of(winner)),
        data_sections=tuple(loaded.data_sections()) if isinstance(loaded, ShowsData) else (),
        cpu_seconds=time.process_time() - started,
        created=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def _write(content: ReportContent, description: ExportDescription, folder: Path) -> tuple[Manifest, bytes]:
    """Report, model card, comparison and, after everything else, the manifest, also as it was written."""
    (folder / "report.html").write_text(render_report(content), encoding="utf-8")
    (folder / "README.md").write_text(render_model_card(content), encoding="utf-8")
    (folder / COMPARISON).write_text(render_comparison(content), encoding="utf-8")
    winner = content.best
    values = zip(content.run.objectives, winner.values, strict=True)
    measured = winner.user_attrs.get(TrialAttribute.METRICS, {})
    validation = {**measured, **{objective.metric: value for objective, value in values}}
    manifest = _manifest(content, description, validation, folder)
    written = manifest.model_dump_json(by_alias=True, exclude_none=True, indent=2).encode()
    (folder / MANIFEST).write_bytes(written)
    return manifest, written


def restore_trial(loaded: LoadedTask, run: Run, trial: FrozenTrial, artifacts: Artifacts, folder: Path) -> FittedModel:
    """A complete trial's model; trained again from its seed if its weights were not kept."""
    path = trial.user_attrs.get(TrialAttribute.WEIGHTS)
    if path is None:
        log.warning("the weights of trial %s were not kept; training it again", trial.number)
        return loaded.fit(whole_point(trial), Unattended(training_seed(run, origin_of(trial))))
    artifacts.download(path, folder)
    return loaded.restore(whole_point(trial), folder)


def _manifest(
    content: ReportContent, description: ExportDescription, validation: Mapping[str, float], folder: Path
) -> Manifest:
    run, winner = content.run, content.winner
    return Manifest(
        task=run.task,
        created=datetime.now(UTC),
        files=tuple(_file(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()),
        labels=description.labels,
        max_length=description.max_length,
        inputs=description.inputs,
        settings=dict(description.settings),
        metric=run.objective.metric,
        direction=run.objective.direction,
        parameters=dict(winner.parameters),
        validation=dict(validation),
        test=winner.metrics if content.judged_on == "test" else None,
        trained_on=content.trained_on if content.trained_on != ("train",) else None,
        seed=content.training_seed,
        versions=dict(content.versions),
        data=content.digests,
        provenance=Provenance(
            namespace=run.namespace,
            study=run.name,
            study_uid=run.uid,
            trial=origin_of(content.best),
            base_model=run.model.title if run.model else None,
            revision=run.model.revision if run.model else None,
        ),
    )


def _file(folder: Path, path: Path) -> ModelFile:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFile(path=path.relative_to(folder).as_posix(), sha256=sha256, size_bytes=path.stat().st_size)
