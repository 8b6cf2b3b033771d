"""What the report says of the search: figures are drawn where there is something to draw, and of the right trials."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from autoglm_api.attempts import TrialAttribute
from autoglm_api.space import Choices, FloatRange, Parameter, When
from autoglm_api.study import Objective
from autoglm_store.ledger import origin_of
from autoglm_trainer.report import figures, search

SPACE = (
    Parameter(name="method", categorical=Choices(choices=("lora", "head"))),
    Parameter(
        name="rate", float_=FloatRange(min=1e-4, max=1e-1, log=True), when=When(parameter="method", in_=("lora",))
    ),
    Parameter(name="noise", float_=FloatRange(min=0, max=1)),
)


def content(trials: list[FrozenTrial]) -> Any:
    """As much of a report as the figures of the search look at."""
    objectives = (Objective(metric="accuracy", direction="Maximize"), Objective(metric="loss", direction="Minimize"))
    objectives = objectives[: len(trials[0].values)]
    run = SimpleNamespace(
        objective=objectives[0], objectives=objectives, parameters=SPACE, sampler=SimpleNamespace(seed=0)
    )
    best = max(trials, key=lambda trial: trial.values[0])
    return SimpleNamespace(run=run, best=best, trials=[SimpleNamespace(last=trial) for trial in trials])


def searched(count: int) -> list[FrozenTrial]:
    """Trials whose value hangs on the rate alone, where they have one."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))

    def value(trial: optuna.Trial) -> float:
        method = trial.suggest_categorical("method", ["lora", "head"])
        trial.suggest_float("noise", 0, 1)
        reached = 0.4
        if method == "lora":
            reached = 1 - 0.2 * abs(math.log10(trial.suggest_float("rate", 1e-4, 1e-1, log=True)) + 2)
        for step in (1, 2, 3):
            trial.report(reached * step / 3, step)
        return reached

    study.optimize(value, n_trials=count)
    return study.get_trials()


@pytest.fixture(scope="module")
def trials() -> list[FrozenTrial]:
    return searched(120)


def test_a_conditional_parameter_is_judged_among_the_trials_that_have_it(trials: list[FrozenTrial]) -> None:
    ((metric, drawn),) = search.importances(content(trials))
    assert metric == "accuracy"
    assert "rate  (among lora)" in drawn
    lora = [trial for trial in trials if trial.params["method"] == "lora"]
    shares = search._importance(lora, content(trials))
    assert shares["rate"] > 3 * shares.get("noise", 0.0)


def test_few_trials_say_nothing_of_importance(trials: list[FrozenTrial]) -> None:
    assert search.importances(content(trials[: search.MIN_TRIALS - 1])) == []


def test_the_best_five_learning_curves_are_drawn(trials: list[FrozenTrial]) -> None:
    drawn = search.learning_curves(content(trials))
    assert drawn is not None
    best = sorted(trials, key=lambda trial: -(trial.value or 0.0))[:5]
    assert all(f"trial {trial.number}<" in drawn for trial in best)


def test_a_trial_that_was_tried_again_is_shown_by_its_first_number(trials: list[FrozenTrial]) -> None:
    shown = content(trials[:12])
    again = copy.deepcopy(shown.best)
    again.number, again.user_attrs[TrialAttribute.ORIGIN] = 99, shown.best.number
    shown.trials = [one for one in shown.trials if one.last is not shown.best] + [SimpleNamespace(last=again)]
    shown.best = again
    drawn = search.learning_curves(shown)
    assert drawn is not None
    assert f"trial {origin_of(again)}<" in drawn
    assert "trial 99" not in drawn + figures.history(shown)


def test_what_breaks_a_constraint_is_neither_best_so_far_nor_a_good_point(trials: list[FrozenTrial]) -> None:
    shown = content(trials[:12])
    broken = copy.deepcopy(shown.best)
    broken.number, broken.value = 12, 2.0
    broken.system_attrs = {"constraints:0:loss": 1.0}
    without = (search.learning_curves(shown), search.parallel_coordinates(shown))
    shown.trials.append(SimpleNamespace(last=broken))
    assert (search.learning_curves(shown), search.parallel_coordinates(shown)) == without
    assert figures._running_best(figures.feasible(shown), maximize=True)[1][-1] == shown.best.value
    assert "breaks a constraint" in figures.history(shown)


def test_parallel_coordinates_show_the_trials_that_have_the_winners_parameters(trials: list[FrozenTrial]) -> None:
    drawn = search.parallel_coordinates(content(trials))
    assert drawn is not None
    assert "0.0001 to 0.1" in drawn
    assert search.parallel_coordinates(content(trials[:1])) is None


def test_places_on_an_axis_follow_its_scale() -> None:
    method, rate, noise = SPACE
    assert search._height(method, "head") == 1.0
    assert search._height(rate, 1e-4) == 0.0
    assert search._height(rate, 10**-2.5) == pytest.approx(0.5)
    assert search._height(noise, 0.25) == 0.25
