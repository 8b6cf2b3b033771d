"""`report.html`: everything inline, every user text escaped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import jinja2
from markupsafe import Markup
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import TrialAttribute
from autoglm_api.run import Run
from autoglm_store import preference
from autoglm_store.ledger import LogicalTrial, origin_of, seconds
from autoglm_trainer.contract import Curves, Matrix, Section, Table

from . import figures, pareto, search
from .content import ReportContent

_ROWS = 200
_MISTAKES = 15
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def render_report(content: ReportContent) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autoglm_trainer", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": number, "measured": measured, "duration": duration, "origin": origin_of}
    return environment.get_template("report.html.j2").render(
        content=content,
        history=Markup(figures.history(content)),  # noqa: S704 - drawn by us, texts escaped by matplotlib
        comparison=Markup(figures.comparison(content)),  # noqa: S704
        slices=[(name, Markup(svg)) for name, svg in figures.slices(content)],  # noqa: S704
        learning=_drawn(search.learning_curves(content)),
        importances=[Markup(svg) for _, svg in search.importances(content)],  # noqa: S704
        fronts=[Markup(svg) for svg in pareto.figures_of_front(content)],  # noqa: S704
        front=pareto.table(content),
        coordinates=_drawn(search.parallel_coordinates(content)),
        states=_tally(content),
        table=_table(content),
        names=[parameter.name for parameter in content.run.parameters],
        sections=[_section(section) for section in (*content.winner.predictions.sections(), *content.data_sections)],
        mistakes=content.winner.predictions.mistakes(_MISTAKES),
        wrong=content.winner.predictions.wrong(),
        worker_seconds=sum(map(_seconds, content.trials)),
        limit=_ROWS,
    )


def _drawn(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)  # noqa: S704


def number(value: object) -> str:
    """A number for people: four significant digits, no tail of zeros."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:.4g}"


def measured(value: float) -> str:
    """A metric: three decimals, so that columns line up and no figure looks more exact than it is."""
    return f"{value:.3f}"


def duration(seconds: float) -> str:
    """`41 s`, `3 min 20 s`, `2:05:00 h`."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3_600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{timedelta(seconds=round(seconds))} h"


def _tally(content: ReportContent) -> dict[str, int]:
    found: dict[str, int] = {}
    for trial in content.trials:
        state = _state(trial)
        found[state] = found.get(state, 0) + 1
    return found


def _state(trial: LogicalTrial) -> str:
    return "infeasible" if TrialAttribute.INFEASIBLE in trial.last.user_attrs else _STATES[trial.last.state]


def _table(content: ReportContent) -> list[Mapping[str, object]]:
    """Trials as table rows: best values first, then those without a value by number."""
    run = content.run
    ordered = sorted(
        content.trials,
        key=lambda trial: (not trial.last.values, _rank(trial.last, run), trial.last.number),
    )
    return [
        {
            "number": trial.attempts[0].number,
            "best": trial.last.number == content.best.number,
            "state": _state(trial),
            "feasible": all(violation <= 0 for violation in trial.last.constraints.values()),
            "values": trial.last.values or [None] * len(run.objectives),
            "attempts": len(trial.attempts),
            "seconds": _seconds(trial),
            "parameters": trial.last.params,
            "message": str(trial.last.user_attrs.get(TrialAttribute.MESSAGE, "")),
        }
        for trial in ordered[:_ROWS]
    ]


def _rank(trial: FrozenTrial, run: Run) -> tuple[float, ...]:
    """Sorts trials by their results; one that was pruned has a value of its one objective, or none."""
    return preference.costs(trial.values, run) if trial.values else ()


def _seconds(trial: LogicalTrial) -> float:
    return sum(map(seconds, trial.attempts))


def _section(section: Section) -> Mapping[str, object]:
    """One of the task's own sections as the template draws it."""
    shown: dict[str, object] = {"title": section.title, "note": section.note, "kind": type(section).__name__}
    match section:
        case Matrix():
            shown["matrix"] = [
                (label, [(count, count / max(1, sum(row))) for count in row])
                for label, row in zip(section.labels, section.counts, strict=True)
            ]
        case Table():
            shown |= {"header": section.header, "rows": section.rows}
        case Curves():
            shown["figure"] = Markup(figures.curves(section))  # noqa: S704
    return shown
