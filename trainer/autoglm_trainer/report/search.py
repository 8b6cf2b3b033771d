"""Figures of the search itself: how the best trials learned, which parameters mattered, and what good points share."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import optuna
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.ticker import MaxNLocator
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial

from autoglm_api.space import Choices, Parameter
from autoglm_store.ledger import origin_of

from .content import ReportContent
from .figures import ACCENT, BAD, MUTED, STYLE, completed, feasible, new_figure, svg

# Below this many trials a forest of trees finds importances in noise.
MIN_TRIALS = 10
# One for each learning curve, the best trial's first.
_DASHES = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (9, 3)))
_LINES = 300


def learning_curves(content: ReportContent) -> str | None:
    """Reports of the five best feasible trials that made any; None where fewer than two steps were reported."""
    cost = content.run.objective.cost
    complete = sorted(feasible(content), key=lambda trial: (cost(trial.values[0]), trial.number))
    shown = [trial for trial in complete if len(trial.intermediate_values) > 1][: len(_DASHES)]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(4.9, 2.9)
        for trial, dashes in zip(shown, _DASHES, strict=False):
            steps, values = zip(*sorted(trial.intermediate_values.items()), strict=True)
            colour = BAD if trial.number == content.best.number else ACCENT
            axes.plot(steps, values, color=colour, linestyle=dashes, linewidth=1.6, label=f"trial {origin_of(trial)}")
        axes.set_xlabel("report")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(f"{content.run.objective.metric}, validation")
        axes.legend(loc="best", fontsize=8)
        return svg(figure, "Reports of the best trials")


def importances(content: ReportContent) -> list[tuple[str, str]]:
    """For each objective that something can be said of, its metric and `_importances` of it."""
    drawn = ((objective.metric, _importances(content, k)) for k, objective in enumerate(content.run.objectives))
    return [(metric, svg) for metric, svg in drawn if svg is not None]


def _importances(content: ReportContent, objective: int) -> str | None:
    """How much of the values' spread each parameter explains, over all trials and among those like the winner.

    A conditional parameter is judged among the trials that have it: those whose choices it hangs on are the winner's.
    None where there are too few trials. Functional ANOVA: Hutter et al. 2014, "An Efficient Approach for Assessing
    Hyperparameter Importance".
    """
    complete = completed(content)
    bars = {f"{name}": share for name, share in _importance(complete, content, objective).items()}
    parents = {parameter.when.parameter for parameter in content.run.parameters if parameter.when}
    like = [
        trial for trial in complete if all(trial.params.get(name) == content.best.params.get(name) for name in parents)
    ]
    within = _importance(like, content, objective) if parents and len(like) < len(complete) else {}
    chosen = ", ".join(str(content.best.params[name]) for name in sorted(parents) if name in content.best.params)
    bars |= {f"{name}  (among {chosen})": share for name, share in within.items() if name not in parents}
    if not bars:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(4.9, 0.6 + 0.26 * len(bars))
        names = list(reversed(bars))
        axes.barh(names, [bars[name] for name in names], color=ACCENT, height=0.62)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 1)
        metric = content.run.objectives[objective].metric
        axes.set_xlabel(f"share of the spread of {metric} that it explains")
        return svg(figure, f"Importance of the parameters for {metric}")


def _importance(trials: Sequence[FrozenTrial], content: ReportContent, objective: int = 0) -> dict[str, float]:
    """Parameters that every one of `trials` has, most important first; empty where nothing can be said."""
    if len(trials) < MIN_TRIALS or len({trial.values[objective] for trial in trials}) < 2:
        return {}
    study = optuna.create_study()  # what a parameter explains is the same in either direction
    study.add_trials([_bare(trial, objective) for trial in trials])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=content.run.sampler.seed))
    return {name: share for name, share in found.items() if share > 0}


def _bare(trial: FrozenTrial, objective: int) -> FrozenTrial:
    value = trial.values[objective]
    return optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=value)


def parallel_coordinates(content: ReportContent) -> str | None:
    """Each feasible trial as a line over the parameters that the winner has; the better, the stronger.

    Better by the first objective.
    """
    parameters = [parameter for parameter in content.run.parameters if parameter.name in content.best.params]
    trials = [trial for trial in feasible(content) if all(parameter.name in trial.params for parameter in parameters)]
    if len(parameters) < 2 or len(trials) < 2:
        return None
    values = [trial.values[0] for trial in trials]
    scale = Normalize(min(values), max(values))
    sign = 1 if content.run.objective.direction == "Maximize" else -1
    order = sorted(range(len(trials)), key=lambda index: sign * values[index])[-_LINES:]
    colours = LinearSegmentedColormap.from_list("better", [MUTED, ACCENT] if sign > 0 else [ACCENT, MUTED])
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(max(4.9, 1.05 * len(parameters)), 3.0)
        for index in order:
            trial, winner = trials[index], trials[index].number == content.best.number
            heights = [_height(parameter, trial.params[parameter.name]) for parameter in parameters]
            colour = BAD if winner else colours(scale(values[index]))
            axes.plot(heights, color=colour, linewidth=2.2 if winner else 0.9, alpha=1.0 if winner else 0.55)
        names = [f"{parameter.name}\n{_ends(parameter)}" for parameter in parameters]
        axes.set_xticks(range(len(parameters)), names, fontsize=8)
        axes.set_yticks([])
        axes.set_ylim(-0.05, 1.05)
        return svg(figure, "Points of the complete trials")


def _height(parameter: Parameter, value: Any) -> float:  # a scalar of the parameter's own type
    """Where the value lies between the ends of its domain, 0 to 1."""
    domain = parameter.domain
    if isinstance(domain, Choices):
        return domain.choices.index(value) / max(1, len(domain.choices) - 1)
    low, high, at = (math.log(end) if domain.log else float(end) for end in (domain.min, domain.max, value))
    return (at - low) / (high - low) if high > low else 0.5


def _ends(parameter: Parameter) -> str:
    domain = parameter.domain
    low, high = (domain.choices[0], domain.choices[-1]) if isinstance(domain, Choices) else (domain.min, domain.max)
    low, high = (f"{end:g}" if isinstance(end, float) else str(end)[:10] for end in (low, high))
    return f"{low} to {high}"
