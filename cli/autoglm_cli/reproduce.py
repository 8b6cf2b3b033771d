"""`autoglm reproduce`: one trial trained again from what its study keeps, and compared value by value."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from autoglm_api.attempts import Owner, TrialAttribute
from autoglm_api.environment import WorkerEnvironment

from .errors import CliError, UsageError
from .extras import require
from .folder import DEFAULT_ROOT, find_run
from .machine import cores
from .sections import Columns, Row, print_table

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from autoglm_trainer.reproduction import Reproduction


def reproduce(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="A run's name or folder, or NAMESPACE/NAME.")],
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", min=0, help="Its number; left out, the best one.")
    ] = None,
    root: Annotated[Path, typer.Option("--dir", help="Where runs are kept.")] = DEFAULT_ROOT,
    storage: Annotated[
        str | None, typer.Option(help="A cluster's database, postgresql://…, in place of a run of this machine.")
    ] = None,
    claims: Annotated[
        Path | None, typer.Option(help="Folder that stands for pvc://: pvc://data/x is DIR/data/x.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="The largest relative difference that still counts as equal.")
    ] = 1e-6,
) -> None:
    """Train one trial again and compare what comes out with what the study keeps. Ends with 1 if they differ."""
    require("trainer")
    from autoglm_store.errors import StoreError

    try:
        url, study = _open(name, root, storage)
    except StoreError as error:
        raise CliError(str(error)) from error
    chosen = _choose(study, trial)
    _set_threads(study, chosen)
    found = _reproduce(url, study, chosen, claims)
    console = Console(highlight=False)
    _print(console, found, tolerance)
    for sentence in found.changed:
        console.print(f"not as it was: {sentence}", style="yellow")
    odd = [figure.name for figure in found.figures if not figure.agrees(tolerance)]
    if odd:
        raise CliError(f"trial {found.trial} comes out differently: {', '.join(odd[:5])}")
    console.print(f"trial {found.trial} comes out the same, {len(found.figures)} values compared")


def _open(name: str, root: Path, storage: str | None) -> tuple[str, optuna.Study]:
    """The study, to be read only, and where it is kept."""
    from autoglm_store.connection import load_study, study_names

    if storage is None:
        from .local import open_study

        folder = find_run(name, root)
        return folder.storage_url, open_study(folder)
    if name.count("/") not in (1, 2):
        raise UsageError(f"{name}: with --storage a study is NAMESPACE/NAME, or NAMESPACE/NAME/UID")
    exact = name.count("/") == 2
    names = [name] if exact else study_names(storage, f"{name}/")
    if len(names) != 1:
        told = f"several studies, {', '.join(names)}; name one of them with its UID" if names else f"no study {name}"
        raise UsageError(f"--storage holds {told}")
    return storage, load_study(storage, names[0])


def _choose(study: optuna.Study, number: int | None) -> FrozenTrial:
    """The last attempt of the trial with that number, as `autoglm report` shows it."""
    from autoglm_store.ledger import best, logical_trials
    from autoglm_store.limits import read_limits, read_run

    trials = study.get_trials(deepcopy=False)
    if number is None:
        winner = best(trials, read_run(study))
        if winner is None:
            raise UsageError("the study has no feasible trial yet; name one of the others")
        return winner
    logical = logical_trials(trials, read_limits(study))
    for one in logical:
        if number in [attempt.number for attempt in one.attempts]:
            return one.last
    known = [one.attempts[0].number for one in logical]
    raise UsageError(f"there is no trial {number}; known: {_ranges(known)}")


def _ranges(numbers: Iterable[int]) -> str:
    found = sorted(numbers)
    return f"{len(found)} trials from {found[0]} to {found[-1]}" if found else "none yet"


def _set_threads(study: optuna.Study, trial: FrozenTrial) -> None:
    """As many as the trial had, where there are as many; sums of floats depend on them. Before torch is imported."""
    from autoglm_store.limits import read_surroundings

    owner = trial.user_attrs.get(TrialAttribute.OWNER)
    kept = read_surroundings(study, Owner.model_validate(owner).surroundings) if owner else None
    os.environ.setdefault("OMP_NUM_THREADS", str(min(cores(), kept.threads if kept else cores())))


def _reproduce(url: str, study: optuna.Study, trial: FrozenTrial, claims: Path | None) -> Reproduction:
    from autoglm_store.limits import read_run
    from autoglm_trainer.errors import TrainerError
    from autoglm_trainer.reproduction import reproduce as train_again
    from autoglm_trainer.work.places import input_places

    # Without a handler SIGTERM would leave what has been downloaded and written.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="autoglm-reproduce-") as scratch:
        environment = WorkerEnvironment(
            storage_url=url,
            study=study.study_name,
            owner_name="reproduce",
            owner_identity=str(os.getpid()),
            # No Secrets here: stores and hubs take their credentials from the person's own environment.
            secrets_root=Path(scratch, "secrets"),
            claims_root=claims.resolve() if claims else Path(scratch, "claims"),
            scratch=Path(scratch),
        )
        try:
            return train_again(study, read_run(study), trial, input_places(environment))
        except TrainerError as error:
            raise CliError(str(error)) from error


def _print(console: Console, found: Reproduction, tolerance: float) -> None:
    columns: Columns = {"VALUE": "left", "STUDY": "right", "NOW": "right", "": "left"}
    rows: list[Row] = []
    for figure in found.figures:
        verdict, style = ("equal", "") if figure.agrees(tolerance) else ("differs", "red")
        now = "none" if figure.now is None else f"{figure.now:.8g}"
        rows.append(((figure.name, f"{figure.stored:.8g}", now, verdict), style))
    print_table(console, columns, rows)
