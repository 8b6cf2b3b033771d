"""Every pruner ends what is hopeless and nothing else, through claims, retries and several workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from pydantic.alias_generators import to_camel

from autoglm_api.attempts import TrialAttribute
from autoglm_api.exits import Cause
from autoglm_api.pruners import PRUNERS, Pruner, PrunerType
from autoglm_api.run import Run
from autoglm_store.attempts import create_retry, fail, tell
from autoglm_store.points import Assignment, next_assignment
from autoglm_store.pruners import BracketOfOrigin, build_pruner

from .studies import ME, make_run, make_study, reload

GOOD = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9]
BETTER = [value + 0.05 for value in GOOD]
BAD = [0.1, 0.12, 0.14, 0.15, 0.16, 0.17]
FALLING = [0.6, 0.55, 0.5, 0.45, 0.4, 0.35]
PRUNERS_IN_USE: list[dict[str, Any]] = [
    {"type": "Median", "startupTrials": 2},
    {"type": "Median", "startupTrials": 2, "warmupSteps": 3},
    {"type": "Percentile", "startupTrials": 2, "percentile": 60},
    {"type": "SuccessiveHalving", "reductionFactor": 2},
    {"type": "Hyperband", "maxResource": 6, "reductionFactor": 2},
    {"type": "Threshold", "lower": 0.3},
    {"type": "Wilcoxon", "pThreshold": 0.2},
    {"type": "Patient", "patience": 2},
    {"type": "Patient", "patience": 2, "wraps": "Median", "startupTrials": 2},
    {"type": "None"},
]


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"journal://{tmp_path}/journal.log"


def begin(url: str, pruner: dict[str, Any], **changes: Any) -> tuple[optuna.Study, Run]:
    run, limits = make_run(trials={"max": 200, "retries": 2}, pruner=pruner, sampler={"type": "Random"}, **changes)
    return make_study(url, run, limits), run


def take(study: optuna.Study, run: Run) -> Assignment:
    given = next_assignment(study, run, ME)
    assert isinstance(given, Assignment)
    return given


def train(study: optuna.Study, run: Run, curve: list[float]) -> int | None:
    """The step after which the trial was pruned; None = it was trained to its end."""
    trial = take(study, run).trial
    for step, value in enumerate(curve, start=1):
        trial.report(value, step)
        if trial.should_prune():
            tell(study, trial, TrialState.PRUNED)
            return step
    tell(study, trial, TrialState.COMPLETE, curve[-1])
    return None


def test_every_pruner_is_tried_here() -> None:
    assert {pruner["type"] for pruner in PRUNERS_IN_USE} == set(get_args(PrunerType)) == set(PRUNERS)


@pytest.mark.parametrize("pruner", PRUNERS_IN_USE, ids=str)
def test_the_best_go_on_and_the_hopeless_end(pruner: dict[str, Any], journal: str) -> None:
    study, run = begin(journal, pruner)
    for _ in range(4):
        train(study, run, GOOD)
    assert train(study, run, BETTER) is None
    ended = [train(study, run, FALLING if pruner["type"] == "Patient" else BAD) for _ in range(6)]
    if pruner["type"] == "None":
        assert ended == [None] * 6
    else:
        assert any(ended), "nothing was pruned"
        assert min(step for step in ended if step) >= pruner.get("warmupSteps", 1)


def test_patience_alone_looks_at_the_trials_own_past_and_around_another_asks_that_too(journal: str) -> None:
    alone, run = begin(journal, {"type": "Patient", "patience": 2, "minDelta": 0.05})
    assert train(alone, run, BAD) is None, "it gets better all the time"
    assert train(alone, run, [0.6, 0.5, 0.5, 0.5, 0.5]) == 4
    wrapped, run = begin(f"{journal}.2", {"type": "Patient", "patience": 2, "wraps": "Threshold", "lower": 0.55})
    assert train(wrapped, run, [0.7, 0.6, 0.6, 0.6, 0.6]) is None
    assert train(wrapped, run, [0.7, 0.5, 0.5, 0.5, 0.5]) == 4


def test_thresholds_hold_on_both_sides(journal: str) -> None:
    study, run = begin(journal, {"type": "Threshold", "lower": 0.2, "upper": 0.7, "warmupSteps": 2})
    assert train(study, run, [0.1, 0.5, 0.6]) is None
    assert train(study, run, [0.5, 0.5, 0.75]) == 3


def test_a_retry_stays_in_its_bracket_in_every_worker(journal: str) -> None:
    study, run = begin(journal, {"type": "Hyperband", "maxResource": 27})
    given = [take(study, run) for _ in range(30)]
    for assignment in given:
        fail(study, assignment.attempt, Cause.LOST, "pod gone")
        create_retry(study, study.get_trials()[assignment.trial.number])
    other = reload(journal, run)
    trials = other.get_trials()
    pruners = [BracketOfOrigin(1, 27, 3) for _ in range(2)]
    for pruner in pruners:
        pruner._try_initialization(other)
    brackets = [pruners[0]._get_bracket_id(other, trial) for trial in trials[:30]]
    assert len(set(brackets)) > 1
    assert [pruners[1]._get_bracket_id(other, trial) for trial in trials[30:]] == brackets


def test_a_bracket_compares_only_its_own_trials(journal: str) -> None:
    study, run = begin(journal, {"type": "Hyperband", "maxResource": 8, "reductionFactor": 2})
    curve = [0.1 * step for step in range(1, 9)]
    ended = [train(study, run, [value * (1 + number % 7) for value in curve]) for number in range(60)]
    firsts = {step for step in ended if step}
    assert len(firsts) > 1, "all brackets begin at the same step"
    assert None in ended


def test_a_retry_keeps_the_halvings_that_it_survived(journal: str) -> None:
    study, run = begin(journal, {"type": "SuccessiveHalving", "reductionFactor": 2})
    given = take(study, run)
    for step in (1, 2):
        given.trial.report(0.5, step)
        assert not given.trial.should_prune()
    fail(study, given.attempt, Cause.LOST, "pod gone")
    create_retry(study, study.get_trials()[0])
    kept = {key for key in study.get_trials()[1].system_attrs if key.startswith("completed_rung_")}
    assert kept == {"completed_rung_0", "completed_rung_1"}


@pytest.mark.parametrize("kind", ["Median", "Wilcoxon", "SuccessiveHalving"])
def test_imported_trials_are_no_measure_for_these_curves(kind: str, journal: str) -> None:
    study, run = begin(journal, {"type": kind, **({"startupTrials": 1} if kind == "Median" else {})})
    for _ in range(8):
        imported = create_trial(
            value=0.99,
            params={},
            intermediate_values=dict.fromkeys(range(1, 7), 0.99),
            user_attrs={TrialAttribute.IMPORTED: True},
        )
        study.add_trial(imported)
    assert train(study, run, GOOD) is None


def test_the_signed_rank_test_compares_with_the_best_feasible_trial(journal: str) -> None:
    limit = {"metric": "loss", "operator": "LessOrEqual", "value": 1}
    study, run = begin(journal, {"type": "Wilcoxon", "pThreshold": 0.2}, constraints=[limit])
    fast = take(study, run).trial
    for step, value in enumerate(BETTER, start=1):
        fast.report(value, step)
    fast.set_constraint("0:loss", 3.0)
    tell(study, fast, TrialState.COMPLETE, BETTER[-1])
    assert train(study, run, GOOD) is None, "the trial that beats it breaks a constraint"
    assert train(study, run, BAD) is not None


def test_a_pruner_takes_its_own_fields_only() -> None:
    shares = {"percentile": 0.5, "p_threshold": 0.5, "wraps": "Median"}
    for kind, declared in PRUNERS.items():
        others = Pruner.model_fields.keys() - declared.defaults.keys() - {"type"}
        needed = dict.fromkeys(declared.required, 2)
        for field in others:
            with pytest.raises(ValueError, match=f"{kind} has no {to_camel(field)}"):
                Pruner.model_validate({"type": kind, **needed, field: shares.get(field, 2)})


def test_what_is_left_out_is_what_the_table_says(journal: str) -> None:
    run, _ = make_run(pruner={"type": "Percentile"})
    inner: Any = build_pruner(run)
    assert (inner._pruner._percentile, inner._pruner._n_startup_trials, inner._pruner._n_warmup_steps) == (25.0, 5, 0)
