"""How an attempt ended: everything that fit, evaluate and save may do, turned into one value."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from autoglm_api.exits import Cause
from autoglm_api.run import Run
from autoglm_store.errors import StoreError
from autoglm_trainer.contract import Estimates, FittedModel, LoadedTask
from autoglm_trainer.errors import TrainerError

from .attempt import Attempt
from .disk import disk_full

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What is to be told.

    Attributes:
        state: COMPLETE with `values`, `metrics` and `model`; PRUNED; or FAIL with `cause` and `message`.
        values: of the objectives, in their order.
        metrics: every finite metric on the validation rows.
        kept: whether the weights have been uploaded.
    """

    state: TrialState
    cause: Cause | None = None
    message: str = ""
    values: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    model: FittedModel | None = None
    kept: bool = False


def train(loaded: LoadedTask, run: Run, attempt: Attempt) -> Outcome:
    """Fit and evaluate.

    Raises:
        StoreError: the storage is gone for good; nothing can be told.
    """
    try:
        attempt.heartbeat()
        parameters = attempt.whole_point(loaded)
        if isinstance(loaded, Estimates) and (estimate := loaded.estimate(parameters)) is not None:
            attempt.expect(estimate)
        model = loaded.fit(parameters, attempt)
        metrics = model.evaluate("validation")
    except optuna.TrialPruned:
        return Outcome(TrialState.PRUNED)
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 - the task's code
        return failure(error)
    return judge(run, metrics, model)


def judge(run: Run, metrics: Mapping[str, float], model: FittedModel) -> Outcome:
    """A result, unless a metric that decides is not a finite number."""
    for name in run.judged:
        if not math.isfinite(metrics[name]):
            return Outcome(TrialState.FAIL, Cause.NON_FINITE, f"the metric {name} is {metrics[name]} at this point")
    finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
    values = tuple(finite[objective.metric] for objective in run.objectives)
    return Outcome(TrialState.COMPLETE, values=values, metrics=finite, model=model)


def failure(error: Exception) -> Outcome:
    """The cause and the sentence of an exception."""
    if is_out_of_memory(error):
        return Outcome(TrialState.FAIL, Cause.OUT_OF_MEMORY, f"out of memory: {error}")
    if isinstance(error, TrainerError):
        return Outcome(TrialState.FAIL, error.cause, str(error))
    if full := disk_full(error):
        return Outcome(TrialState.FAIL, full.cause, str(full))
    logger.error("the task's code failed", exc_info=error)
    return Outcome(TrialState.FAIL, Cause.TASK_ERROR, f"{type(error).__name__}: {error}")


def is_out_of_memory(error: Exception) -> bool:
    """Python's own, or torch's on either device; torch is not imported for the question."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
