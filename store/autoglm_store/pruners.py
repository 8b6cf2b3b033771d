"""From the run's pruner to Optuna's; every one judges by the trials of this study alone."""

from __future__ import annotations

import binascii
import warnings
from typing import assert_never

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from autoglm_api.pruners import Pruner, PrunerType
from autoglm_api.run import Run

from .learning import Shown
from .ledger import best, is_ours, origin_of


class BracketOfOrigin(HyperbandPruner):
    """Hyperband whose brackets follow from the logical trial: a retry stays in its bracket."""

    @override
    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        place = binascii.crc32(f"{study.study_name}_{origin_of(trial)}".encode()) % self._total_trial_allocation_budget
        for bracket, budget in enumerate(self._trial_allocation_budgets):
            place -= budget
            if place < 0:
                return bracket
        raise AssertionError("the budgets add up to their total")

    @override
    def _create_bracket_study(self, study: optuna.Study, bracket_id: int) -> optuna.Study:
        trials = study.get_trials(deepcopy=False)
        return Shown(study, [trial for trial in trials if self._get_bracket_id(study, trial) == bracket_id])


class OwnStudy(Shown):
    """The study without imported trials, whose curves are others', and failed ones, which their retries repeat.

    Its best is ours: the best feasible one.
    """

    def __init__(self, study: optuna.Study, run: Run) -> None:
        trials = study.get_trials(deepcopy=False)
        super().__init__(study, [trial for trial in trials if is_ours(trial) and trial.state != TrialState.FAIL])
        self._run = run

    @property
    @override
    def best_trial(self) -> FrozenTrial:
        leader = best(self._shown, self._run)
        if leader is None:
            raise ValueError("no trial is feasible yet")
        return leader


class OwnPruner(BasePruner):
    """Another pruner, shown only what it may judge by."""

    def __init__(self, pruner: BasePruner, run: Run) -> None:
        self._pruner = pruner
        self._run = run

    @override
    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Wilcoxon's: a step that the best trial never came to
            return self._pruner.prune(OwnStudy(study, self._run), trial)


def build_pruner(run: Run) -> BasePruner:
    """The run's pruner, to be set on a loaded study."""
    if run.pruner.type == "None":
        return NopPruner()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", optuna.exceptions.ExperimentalWarning
        )  # Patient, Wilcoxon; the release is pinned
        return OwnPruner(_build(run.pruner, run.pruner.type), run)


def _build(pruner: Pruner, kind: PrunerType) -> BasePruner:
    def whole(name: str) -> int:
        return int(pruner.value(name))

    match kind:
        case "Median":
            return MedianPruner(whole("startup_trials"), whole("warmup_steps"))
        case "Percentile":
            return PercentilePruner(pruner.value("percentile"), whole("startup_trials"), whole("warmup_steps"))
        case "SuccessiveHalving":
            return SuccessiveHalvingPruner(whole("min_resource"), whole("reduction_factor"))
        case "Hyperband":
            return BracketOfOrigin(whole("min_resource"), whole("max_resource"), whole("reduction_factor"))
        case "Threshold":
            return ThresholdPruner(pruner.lower, pruner.upper, whole("warmup_steps"))
        case "Wilcoxon":
            return WilcoxonPruner(p_threshold=pruner.value("p_threshold"), n_startup_steps=whole("warmup_steps"))
        case "Patient":
            inner = _build(pruner, pruner.wraps) if pruner.wraps else None
            return PatientPruner(inner, whole("patience"), pruner.value("min_delta"))
        case "None":
            return NopPruner()
        case _:
            assert_never(kind)
