"""Whose weights stay in the artifact store; and what killed processes leave there, swept away after the search."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from autoglm_api.attempts import TrialAttribute
from autoglm_api.run import Run
from autoglm_store.ledger import is_default, top
from autoglm_trainer.errors import TrainerError

from .artifacts import Artifacts
from .attempt import CHECKPOINTS

logger = logging.getLogger(__name__)

KEPT_WEIGHTS = 3
WEIGHTS = "trials"


def keeps_weights(trials: Sequence[FrozenTrial], run: Run) -> list[FrozenTrial]:
    """The best three, and what was trained at the task's default: the report needs no second training of that."""
    return [*top(trials, run, KEPT_WEIGHTS), *(trial for trial in trials if is_default(trial.params, run))]


def sweep(artifacts: Artifacts, trials: Sequence[FrozenTrial], run: Run) -> None:
    """Delete all checkpoints, and all weights that nobody needs any more; what cannot be deleted stays.

    A worker clears up after its trials; one that is killed between two steps of that does not come to it.

    Args:
        artifacts: the run's folder, in which nothing is being trained any more.
        trials: all of the study's.
        run: the frozen run.
    """
    kept = {trial.user_attrs.get(TrialAttribute.WEIGHTS) for trial in keeps_weights(trials, run)}
    try:
        artifacts.delete(CHECKPOINTS)
        for path in artifacts.list(WEIGHTS):
            if path not in kept:
                artifacts.delete(path)
    except TrainerError as error:
        logger.warning("checkpoints or weights stay behind: %s", error)
