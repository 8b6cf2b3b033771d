"""Who the winner is compared with: default, the task's own rivals, and baseline; and what training each took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import TrialAttribute
from autoglm_api.base import Scalar
from autoglm_api.catalog import find_task
from autoglm_api.run import Run
from autoglm_store.ledger import LogicalTrial, gpu_seconds, is_default, seconds, whole_point

from .contract import Compares, FittedModel, LoadedTask, SplitName
from .errors import Infeasible, SpecError
from .report import Contender, Cost

log = logging.getLogger(__name__)


class Unattended:
    """The control of a training that nobody watches: it reports to nobody and is never stopped."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.resume_from: Path | None = None

    def report(self, step: int, value: float) -> None:
        """Nobody listens."""

    def heartbeat(self) -> None:
        """Nobody waits."""

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Nothing is due."""


def trials_cost(last: FrozenTrial, trials: Sequence[LogicalTrial]) -> Cost:
    """Of all attempts of the trial with this last one."""
    attempts = next((trial.attempts for trial in trials if trial.last.number == last.number), (last,))
    noted = [
        attempt.user_attrs[key] for attempt in attempts if (key := TrialAttribute.CPU_SECONDS) in attempt.user_attrs
    ]
    return Cost(sum(map(seconds, attempts)), sum(noted) if noted else None, gpu_seconds(attempts)[0])


@dataclass
class Stopwatch:
    """Measures what a training here takes.

    Attributes:
        gpus: that this process holds.
    """

    gpus: int
    began: float = field(default_factory=time.monotonic)
    began_cpu: float = field(default_factory=time.process_time)

    def cost(self) -> Cost:
        """Since it was made."""
        took = time.monotonic() - self.began
        return Cost(took, time.process_time() - self.began_cpu, took * self.gpus)


@dataclass(frozen=True)
class Made:
    """The model that is exported.

    Attributes:
        alone: the winner as its trial was judged, of the training rows alone, where the model is another one.
        further: what making it took beside the trial.
        missing: why it is not the model that the study asks for; a sentence.
    """

    model: FittedModel
    alone: FittedModel | None = None
    further: Cost | None = None
    missing: str = ""


def contenders(
    loaded: LoadedTask,
    run: Run,
    winner: FrozenTrial,
    made: Made,
    split: SplitName,
    trials: Sequence[LogicalTrial],
    restore: Callable[[FrozenTrial], FittedModel],
    gpus: int,
) -> tuple[list[Contender], list[str]]:
    """Winner, default configuration and baseline on `split`, and a sentence for each that could not be had.

    `made` is of the winner; `restore` gives that of any complete one of `trials`.
    """
    task = find_task(run.task).for_model(run.model)
    searched = whole_point(winner)
    chosen = {**task.defaults(searched), **searched}
    own = trials_cost(winner, trials)
    shown = _searched_first(chosen, searched)
    found, missing = [_contender("winner", made.model, split, shown, own.plus(made.further))], [made.missing]
    if made.alone is not None:
        found.append(_contender("winner of the training rows alone", made.alone, split, shown, own))
    if is_default(searched, run):
        missing.append("The winner is the default configuration.")
    else:
        try:
            default, cost = _default(loaded, run, trials, restore, gpus)
            found.append(_contender("default configuration", default, split, task.defaults({}), cost))
        except Infeasible as error:
            missing.append(f"The default configuration could not be trained: {error}.")
    for name, point in loaded.rivals(chosen).items() if isinstance(loaded, Compares) else ():
        try:
            watch = Stopwatch(gpus)
            rival = loaded.fit(point, Unattended(run.sampler.seed))
            found.append(_contender(name, rival, split, point, watch.cost()))
        except Infeasible as error:
            missing.append(f"The {name} could not be trained: {error}.")
    watch = Stopwatch(gpus=0)
    answers = loaded.baseline(split)
    found.append(Contender(f"baseline ({loaded.baseline_name})", answers, {}, {}, watch.cost()))
    return found, [sentence for sentence in missing if sentence]


def _default(
    loaded: LoadedTask,
    run: Run,
    trials: Sequence[LogicalTrial],
    restore: Callable[[FrozenTrial], FittedModel],
    gpus: int,
) -> tuple[FittedModel, Cost]:
    """The default configuration's model: that of the trial that was made at it, or else trained here."""
    for trial in (trial.last for trial in trials):
        is_result = trial.state == TrialState.COMPLETE and TrialAttribute.DUPLICATE_OF not in trial.user_attrs
        if is_result and is_default(whole_point(trial), run):
            try:
                return restore(trial), trials_cost(trial, trials)
            except SpecError as error:  # the report is not worth the export: a worker of an older release deletes them
                log.warning("the default configuration is trained again, its weights are gone: %s", error)
                break
    watch = Stopwatch(gpus)
    default = loaded.fit(find_task(run.task).for_model(run.model).defaults({}), Unattended(run.sampler.seed))
    return default, watch.cost()


def _searched_first(chosen: Mapping[str, Scalar], searched: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The searched parameters first, then the defaults that filled the rest."""
    return {**searched, **{name: value for name, value in chosen.items() if name not in searched}}


def _contender(
    name: str, fitted: FittedModel, split: SplitName, parameters: Mapping[str, Scalar], cost: Cost
) -> Contender:
    predictions = fitted.predict(split)
    of_rows = predictions.measure()
    measured = {metric: value for metric, value in fitted.evaluate(split).items() if metric not in of_rows}
    return Contender(name, predictions, measured, parameters, cost)
