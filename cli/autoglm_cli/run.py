"""`autoglm run`: the whole main job on this machine, from a YAML file to a served model, without a cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from autoglm_api.problems import field_name
from autoglm_api.run import gpu_methods, task_of
from autoglm_api.shards import pattern_of
from autoglm_api.study import StudySpec

from .checks import Checked, local_sources
from .documents import STDIN
from .errors import InterruptedRunError, UsageError
from .extras import require
from .folder import DEFAULT_ROOT, RunFolder
from .machine import gpus
from .plan import documents_of
from .sources import files_here, make_absolute, resolve

PVC = "pvc://"


def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file with one study; - reads standard input.")],
    root: Annotated[Path, typer.Option("--dir", help="Where runs are kept, one folder each.")] = DEFAULT_ROOT,
    parallel: Annotated[
        int | None, typer.Option(min=1, max=64, help="Workers at a time, instead of trials.parallel.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Trials in all, instead of trials.max.")
    ] = None,
    claims: Annotated[
        Path | None, typer.Option(help="Folder that stands for pvc://: pvc://data/x is DIR/data/x.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget an earlier run of this study and begin again.")
    ] = False,
    export: Annotated[bool, typer.Option(help="Export the best model and write the report.")] = True,
    serve: Annotated[bool, typer.Option(help="Serve the best model at the end, until Ctrl-C.")] = False,
    serve_once: Annotated[bool, typer.Option("--serve-once", help="Serve, ask one question, end.")] = False,
) -> None:
    """Run a study on this machine. The same command again goes on where an earlier one ended."""
    if (serve or serve_once) and not export:
        raise UsageError("--serve needs the exported model; leave out --no-export")
    checked = _the_study(file)
    spec = _local_spec(checked, file, claims, parallel=parallel, trials=trials)
    require(*(["trainer", "serving"] if serve or serve_once else ["trainer"]))
    # Optuna and its company take a second to import; a wrong file must be told at once.
    from .finish import export_best, serve_model
    from .local import LocalRun

    folder = RunFolder(root / checked.name)
    local = LocalRun(folder, spec, checked.namespace, checked.name, file, claims.resolve() if claims else None)
    with local.opened(fresh=fresh):
        task, why = task_of(spec)
        if why is not None:
            local.say(f"   task   {task.name}: {why}", "dim")
        if not local.search():
            raise typer.Exit(InterruptedRunError.exit_code)
        if not export:
            return
        model = export_best(local)
        if serve or serve_once:
            serve_model(local, model, once=serve_once)
        else:
            local.say(f"   serve  autoglm serve {folder.path}", "dim")


def _the_study(file: str) -> Checked:
    studies = [checked for checked in documents_of(file) if isinstance(checked.spec, StudySpec)]
    if len(studies) != 1:
        names = ", ".join(study.name for study in studies) or "none"
        raise UsageError(f"{file} must hold exactly one AutoGLMStudy, found: {names}")
    (study,) = studies
    if not study.name:
        raise UsageError(f"{file}: metadata.name is required here; generateName is for clusters")
    if isinstance(study.spec, StudySpec) and study.spec.suspend:
        raise UsageError(f"{file}: spec.suspend is true; nothing is started")
    return study


def _local_spec(
    checked: Checked, file: str, claims: Path | None, *, parallel: int | None, trials: int | None
) -> StudySpec:
    """The spec with the options' numbers in it and every place as workers on this machine find it."""
    assert isinstance(checked.spec, StudySpec)
    spec = make_absolute(checked.spec, Path.cwd() if file == STDIN else Path(file).resolve().parent)
    numbers = {name: value for name, value in (("parallel", parallel), ("max", trials)) if value is not None}
    spec = spec.model_copy(update={"trials": spec.trials.model_copy(update=numbers)})
    _refuse_missing(spec)
    if (methods := gpu_methods(task_of(spec)[0], spec.parameters)) and not gpus(os.environ):
        raise UsageError(f"spec.parameters: method {methods[0]} needs a GPU, and this machine has none; leave it out")
    for _, place in spec.places:
        if place.startswith(PVC) and claims is None:
            raise UsageError(f"{place} lies in a cluster; --claims DIR names a folder that stands for its claims")
    return spec


def _refuse_missing(spec: StudySpec) -> None:
    """What is not there is told now, and not by a worker after half a minute of loading."""
    for path, uri in local_sources(spec):
        if path[0] != "artifacts" and not files_here(uri, Path.cwd()):
            told = "is the name of no file" if pattern_of(uri) else "does not exist"
            raise UsageError(f"spec.{field_name(path)}: {resolve(uri, Path.cwd())} {told}")
