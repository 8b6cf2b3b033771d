"""One local run: begun or opened again under its lock, searched by a supervisor, and its ending told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import optuna
from rich.console import Console
from rich.text import Text

from autoglm_api import environment as env
from autoglm_api.attempts import StudyAttribute
from autoglm_api.conditions import Reason
from autoglm_api.names import optuna_study_name
from autoglm_api.run import Run, freeze, limits
from autoglm_api.study import StudySpec
from autoglm_store.connection import load_study
from autoglm_store.creation import create_study
from autoglm_store.errors import StoreError, StudyNotFound
from autoglm_store.journal import repair_journal
from autoglm_store.ledger import best, is_ours
from autoglm_store.limits import read_fatal, read_limits, read_run
from autoglm_store.warmstart import Source, importable

from .errors import CliError, SpecChangedError, UsageError
from .folder import RunFolder, find_run
from .interrupts import Interrupts
from .pool import Pool
from .progress import Progress
from .results import ending, print_results
from .supervisor import WORKER, Supervisor

FAILED = frozenset({Reason.TOO_MANY_FAILED, Reason.SPEC_ERROR, Reason.DATA_ERROR})


@dataclass
class LocalRun:
    """A study on this machine.

    Attributes:
        spec: with absolute places.
        file: the YAML file as given, for messages.
        claims: the folder that stands for a cluster's claims.
        worker: the module that works and exports.
        study, stored, pool: there inside `opened`.
    """

    folder: RunFolder
    spec: StudySpec
    namespace: str
    name: str
    file: str
    claims: Path | None = None
    worker: str = WORKER
    console: Console = field(default_factory=lambda: Console(highlight=False))
    interrupts: Interrupts = field(default_factory=Interrupts)
    study: optuna.Study = field(init=False)
    stored: Run = field(init=False)
    pool: Pool = field(init=False)

    @contextmanager
    def opened(self, *, fresh: bool) -> Iterator[None]:
        """Everything between lock and end: the study is open, and no child outlives the block.

        Raises:
            BusyError: another supervisor works here.
            SpecChangedError: the file no longer says what the run began with.
            UsageError: a run that this one begins with is not there; nothing was created or removed.
        """
        self._refuse_missing_sources(fresh=fresh)
        # From here on Ctrl-C waits for a moment at which all is whole.
        with self.folder.locked(), self.interrupts:
            if fresh:
                self.folder.clear()
            elif self._ended_before_its_first_result():
                self.say("the earlier run ended before its first result; beginning again")
                self.folder.clear()
            try:
                record = self.folder.prepare(namespace=self.namespace, name=self.name, file=self.file)
                self._open_study(record.uid)
                self.pool = Pool(self.folder, self._shared_environment())
                try:
                    yield
                finally:
                    self.pool.kill()
            except StoreError as error:
                raise CliError(str(error)) from error
            finally:
                shutil.rmtree(self.folder.scratch, ignore_errors=True)

    def say(self, text: str, style: str = "") -> None:
        """A line for the person; wrapped by the terminal only, so that it can be copied."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def _ended_before_its_first_result(self) -> bool:
        """A run that its spec or data ended at once holds nothing to keep; the person has corrected them by now."""
        study = self._earlier_study()
        if study is None:
            return False
        trials = filter(is_ours, study.get_trials(deepcopy=False))
        finished = any(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)
        return read_fatal(study) is not None and not finished

    def _open_study(self, uid: str) -> None:
        wanted = freeze(
            self.spec,
            namespace=self.namespace,
            name=self.name,
            uid=uid,
            artifacts_uri=self.spec.artifacts.uri if self.spec.artifacts else self.folder.artifacts.as_uri(),
        )
        if self.folder.journal.is_file():
            # A killed process may have left half a line; the store says so when it cuts it off.
            repair_journal(self.folder.journal)
            self._refuse_changes(wanted)
        # Idempotent: a run that is stored stays, what an earlier process did not come to is done now.
        name = optuna_study_name(self.namespace, self.name, uid)
        bounds = limits(self.spec, generation=1)
        self.study = create_study(self.folder.storage_url, name, wanted, bounds, self._sources(wanted))
        self.stored = read_run(self.study)

    def _refuse_missing_sources(self, *, fresh: bool) -> None:
        begins = fresh or self._ended_before_its_first_result() or not self._has_imported()
        for name in self.spec.warm_start.from_studies if self.spec.warm_start and begins else ():
            if name == self.name:
                raise UsageError(f"spec.warmStart.fromStudies: {name} is this study; name others")
            try:
                begun = find_run(name, self.folder.path.parent).has_study
            except UsageError as error:
                raise UsageError(f"spec.warmStart.fromStudies: {error}") from error
            if not begun:
                raise UsageError(f"spec.warmStart.fromStudies: run {name} has not begun; `autoglm run` it first")

    def _has_imported(self) -> bool:
        earlier = self._earlier_study()
        return earlier is not None and StudyAttribute.WARM_START in earlier.user_attrs

    def _sources(self, wanted: Run) -> list[Source] | None:
        """The runs beside this one that it begins with; None once that is done."""
        if self._has_imported():
            return None
        sources = []
        for name in wanted.warm_start:
            study = open_study(find_run(name, self.folder.path.parent))
            sources.append(Source(name, read_run(study), study.get_trials(deepcopy=False)))
        for sentence in importable(wanted, sources).told:
            self.say(sentence)
        return sources

    def _refuse_changes(self, wanted: Run) -> None:
        earlier = self._earlier_study()
        stored = read_run(earlier) if earlier else wanted
        if stored.fingerprint != wanted.fingerprint:
            raise SpecChangedError(what_changed(stored, wanted, self.file, self.folder))

    def _earlier_study(self) -> optuna.Study | None:
        """The study of an earlier process; None also if that ended before it had written the run."""
        if not self.folder.has_study:
            return None
        study = open_study(self.folder, missing_is_fine=True)
        return study if study and StudyAttribute.RUN in study.user_attrs else None

    def _shared_environment(self) -> dict[str, str]:
        return {
            env.STORAGE_URL: self.folder.storage_url,
            env.STUDY: self.study.study_name,
            # No Secrets here: stores and hubs take their credentials from the person's own environment.
            env.SECRETS_ROOT: str(self.folder.path / "secrets"),
            env.CLAIMS_ROOT: str(self.claims or self.folder.path / "claims"),
            env.LOG_FORMAT: "text",
        }

    def search(self) -> bool:
        """Search until the study ends, then print the table; False = interrupted, to be continued.

        Raises:
            WorkersFailingError: no worker gets anything done.
            CliError: the study has failed, or there is no feasible trial.
        """
        goal = ", ".join(f"{each.direction.lower()} {each.metric}" for each in self.stored.objectives)
        base = f", base model {self.stored.model.title}" if self.stored.model else ""
        self.say(f"{self.name}: {self.stored.task}, {goal}{base}", "bold")
        self.say(f"everything about it is kept in {self.folder.path}", "dim")
        with Progress(self.console, self.stored) as progress:
            reason = Supervisor(
                self.study,
                self.stored,
                read_limits(self.study),
                parallel=self.spec.trials.parallel,
                pool=self.pool,
                progress=progress,
                interrupts=self.interrupts,
                worker=self.worker,
            ).search()
        if reason is None:
            self.say(f"interrupted; the state is kept in {self.folder.path}\ngo on with the same command again")
            return False
        self._tell(reason)
        return True

    def _tell(self, reason: Reason) -> None:
        trials, bounds = self.study.get_trials(deepcopy=False), read_limits(self.study)
        if any(trial.params for trial in trials):
            self.console.print()
            print_results(self.console, trials, self.stored, bounds)
            self.console.print()
        told = ending(reason, trials, bounds, read_fatal(self.study))
        if reason in FAILED:
            raise CliError(f"{told}\nlogs: {self.folder.logs}")
        self.say(told)
        if best(trials, self.stored) is None:
            raise CliError("no trial is feasible: none finished within the constraints, so there is no model")


@overload
def open_study(folder: RunFolder) -> optuna.Study: ...


@overload
def open_study(folder: RunFolder, *, missing_is_fine: bool) -> optuna.Study | None: ...


def open_study(folder: RunFolder, *, missing_is_fine: bool = False) -> optuna.Study | None:
    """The study of a run, for reading; None if it is not in the journal and that is fine.

    Raises:
        CliError: the journal cannot be read.
    """
    try:
        return load_study(folder.storage_url, folder.read_record().study_name)
    except StudyNotFound as error:
        if missing_is_fine:
            return None
        raise CliError(f"{error}; `autoglm run FILE --fresh` begins again") from error
    except StoreError as error:
        raise CliError(f"{error}; `autoglm run FILE --fresh` begins again") from error


def what_changed(stored: Run, wanted: Run, file: str, folder: RunFolder) -> str:
    """The sentence for a file that was edited between two runs."""
    before, now = stored.to_json_dict(), wanted.to_json_dict()
    names = [name for name in sorted({*before, *now} - {"fingerprint", "enqueue"}) if before.get(name) != now.get(name)]
    return (
        f"{file} no longer says what the run in {folder.path} began with: {', '.join(names) or 'a field'} changed. "
        "Only trials.max, trials.parallel, trials.maxFailed and budget may change; undo it, give the study another "
        "name, or begin again with --fresh"
    )
