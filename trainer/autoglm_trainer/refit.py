"""The winner trained once more, on training and validation rows together, where the study asks for it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from optuna.trial import FrozenTrial

from autoglm_api.base import Scalar
from autoglm_api.catalog import find_task
from autoglm_api.run import Run
from autoglm_store.ledger import origin_of, whole_point
from autoglm_store.sampling import training_seed

from .contenders import Made, Stopwatch, Unattended
from .contract import FittedModel, LoadedTask, Refits
from .errors import Infeasible

_REFUSED = "The winner could not be trained once more with the validation rows"
log = logging.getLogger(__name__)


def make_model(
    loaded: LoadedTask, run: Run, winner: FrozenTrial, restore: Callable[[FrozenTrial], FittedModel], *, gpus: int
) -> Made:
    """The model to export of the winning trial, as `run.export` says.

    Args:
        loaded: the task.
        run: the study's frozen run.
        winner: its best trial.
        restore: gives a complete trial's model.
        gpus: that this process holds.
    """
    judged = restore(winner)
    if run.export.train_on == "Train":
        return Made(judged)
    assert isinstance(loaded, Refits), "the door lets no other task be trained once more"
    rows = loaded.row_counts
    log.info("training the winner once more, on %d training and %d validation rows", rows["train"], rows["validation"])
    watch = Stopwatch(gpus)
    try:
        control = Unattended(training_seed(run, origin_of(winner)))
        again = loaded.refit(whole_point(winner), control, reports=best_report(run, winner))
    except Infeasible as error:
        return Made(judged, missing=f"{_REFUSED}: {error}.")
    further = watch.cost()
    # Nothing was measured while it trained, so this is the first that anybody sees of its answers.
    if math.isnan(again.predict("test").measure().get(run.objective.metric, 0.0)):
        return Made(judged, missing=f"{_REFUSED}: there its {run.objective.metric} is not a number.")
    return Made(again, alone=judged, further=further)


def best_report(run: Run, trial: FrozenTrial) -> int | None:
    """After which report the trial's weights were taken; None = its training went to the end of its plan.

    With several objectives nothing was reported, so there the plan is carried out whatever patience the point has.
    """
    task = find_task(run.task).for_model(run.model)
    point: dict[str, Scalar] = task.complete(whole_point(trial))
    reported = trial.intermediate_values
    if not point.get("patience") or not reported:
        return None
    return min(reported, key=lambda step: (run.objective.cost(reported[step]), step))
