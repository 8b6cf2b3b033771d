"""The figures as inline SVG: no links, no fonts of their own, and colours that follow the page's light or dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.space import Choices, IntRange, Parameter
from autoglm_store.ledger import is_feasible, origin_of
from autoglm_trainer.contract import Curves

from .content import ReportContent

# A colour that no figure uses otherwise; it becomes the page's text colour.
_INK = "#010203"
ACCENT, MUTED, BAD = "#2f6fde", "#8a94a6", "#d9822b"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "autoglm",
    "font.family": "sans-serif",
    "font.size": 9.5,
    # Labels are the user's words, never formulas.
    "text.parse_math": False,
    "text.color": _INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#8a94a640",
    "legend.frameon": False,
    "axes.formatter.use_mathtext": False,
}
# Beyond these a file would grow by megabytes and a point would be no wider than a hair.
_POINTS = 1_000
_SLICES = 12


def history(content: ReportContent) -> str:
    """Every trial's value of the first objective in order, with the best so far."""
    trials = [trial.last for trial in content.trials]
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED and trial.intermediate_values]
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(4.9, 2.9)
        good = feasible(content)
        best = _running_best(good, maximize=content.run.objective.direction == "Maximize")
        axes.step(*best, where="post", color=ACCENT, linewidth=1.6, label="best so far")
        broken = [trial for trial in completed(content) if not is_feasible(trial)]
        for some, colour, label in ((good, ACCENT, "complete"), (broken, MUTED, "breaks a constraint")):
            if shown := _thinned(some):
                axes.scatter(list(map(origin_of, shown)), list(map(_value, shown)), s=22, color=colour, label=label)
        stopped = _thinned(pruned)
        values = [list(trial.intermediate_values.values())[-1] for trial in stopped]
        if stopped:
            numbers = list(map(origin_of, stopped))
            axes.scatter(numbers, values, s=20, facecolors="none", edgecolors=MUTED, label="pruned (last report)")
        axes.scatter(
            [origin_of(content.best)], [_value(content.best)], s=90, facecolors="none", edgecolors=BAD, linewidths=1.8
        )
        axes.set_xlabel("trial")
        axes.set_ylabel(f"{content.run.objective.metric}, validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="best", fontsize=8)
        return svg(figure, f"Value of each trial; the best is trial {origin_of(content.best)}")


def slices(content: ReportContent) -> list[tuple[str, str]]:
    """For each searched parameter its name, and every complete trial's value of the first objective over it."""
    trials = completed(content)
    drawn = []
    for parameter in content.run.parameters:
        with_it = [trial for trial in trials if parameter.name in trial.params]
        if len({trial.params[parameter.name] for trial in with_it}) > 1:
            drawn.append((parameter.name, _slice(parameter, _thinned(with_it), content)))
    return drawn[:_SLICES]


def _slice(parameter: Parameter, trials: Sequence[FrozenTrial], content: ReportContent) -> str:
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(3.3, 2.3)
        values = [trial.params[parameter.name] for trial in trials]
        domain = parameter.domain
        if isinstance(domain, Choices):
            choices = [choice for choice in domain.choices if choice in values]
            places: list[float] = [float(choices.index(value)) for value in values]
            axes.set_xticks(range(len(choices)), [str(choice)[:14] for choice in choices])
            axes.set_xlim(-0.6, len(choices) - 0.4)
        else:
            places = [float(value) for value in values]
            if isinstance(domain, IntRange):
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if domain.log:
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_formatter("")
        axes.scatter(places, list(map(_value, trials)), s=20, color=ACCENT, alpha=0.75)
        if parameter.name in content.best.params:
            chosen = [place for place, trial in zip(places, trials, strict=True) if trial.number == content.best.number]
            axes.scatter(
                chosen, [_value(content.best)] * len(chosen), s=80, facecolors="none", edgecolors=BAD, linewidths=1.8
            )
        axes.set_xlabel(parameter.name)
        return svg(figure, f"{content.run.objective.metric} over {parameter.name}")


def comparison(content: ReportContent) -> str:
    """Each contender's compared metric with its 95 % interval."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(4.9, 0.7 + 0.5 * len(content.contenders))
        for place, contender in enumerate(content.contenders):
            low, high = content.confidence(place, content.compared)
            colour = ACCENT if place == 0 else MUTED
            axes.plot([low, high], [-place, -place], color=colour, linewidth=3, solid_capstyle="round", alpha=0.5)
            axes.plot([contender.metrics[content.compared]], [-place], "o", color=colour, markersize=8)
        axes.set_yticks([-place for place in range(len(content.contenders))], [c.name for c in content.contenders])
        axes.set_ylim(0.6 - len(content.contenders), 0.4)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{content.compared} on {content.judged_on} rows, with 95 % intervals")
        return svg(figure, f"{content.compared} of winner, default and baseline")


def curves(section: Curves) -> str:
    """Lines over one axis."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(4.9, 2.9)
        for (name, (xs, ys)), colour in zip(section.lines.items(), cycle((ACCENT, MUTED, BAD)), strict=False):
            if name in section.dots:
                axes.scatter(xs, ys, s=8, color=colour, alpha=0.6, label=name)
            else:
                axes.plot(xs, ys, linewidth=1.6, color=colour, label=name)
        axes.set_xlabel(section.x_label)
        axes.set_ylabel(section.y_label)
        if len(section.lines) > 1:
            axes.legend(loc="best", fontsize=8)
        return svg(figure, section.title)


def _running_best(trials: Sequence[FrozenTrial], *, maximize: bool) -> tuple[list[int], list[float]]:
    numbers: list[int] = []
    values: list[float] = []
    for trial in sorted(trials, key=origin_of):
        value = _value(trial)
        best = value if not values else (max if maximize else min)(values[-1], value)
        numbers.append(origin_of(trial))
        values.append(best)
    return numbers, values


def completed(content: ReportContent) -> list[FrozenTrial]:
    """The complete trials; each has a value of every objective."""
    trials = [trial.last for trial in content.trials]
    return [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.values]


def feasible(content: ReportContent) -> list[FrozenTrial]:
    """The complete trials that break no constraint."""
    return list(filter(is_feasible, completed(content)))


def _value(trial: FrozenTrial) -> float:
    return float(trial.values[0])


def _thinned(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    every = -(-len(trials) // _POINTS) or 1
    return list(trials[::every])


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def svg(figure: Figure, title: str) -> str:
    """The figure as an `<svg>` element that scales with the page."""
    written = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(
            written,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (xmlns(:\w+)?|version|width|height)="[^"]*"', "", svg[: svg.index(">")]) + svg[svg.index(">") :]
    svg = svg.replace("xlink:href", "href").replace(_INK, "currentColor")
    svg = re.sub(r"font: ([\d.]+)px 'DejaVu Sans'[^;\"]*", r"font: \1px system-ui, sans-serif", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{_attribute(title)}"', 1)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
