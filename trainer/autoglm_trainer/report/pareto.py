"""The Pareto front of a study with several objectives, drawn pair by pair, and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import matplotlib as mpl
from optuna.trial import FrozenTrial

from autoglm_store.front import front
from autoglm_store.ledger import is_candidate

from .content import ReportContent
from .figures import ACCENT, BAD, MUTED, STYLE, completed, new_figure, svg

_ROWS = 50
_POINTS = 1_000


def table(content: ReportContent) -> list[FrozenTrial]:
    """The front, the winner first; at most fifty."""
    return _members(content)[:_ROWS]


def figures_of_front(content: ReportContent) -> list[str]:
    """One scatter for each pair of objectives; none where there is one objective."""
    members = _members(content)
    known = {member.number for member in members}
    others = [trial for trial in completed(content) if is_candidate(trial) and trial.number not in known][-_POINTS:]
    pairs = combinations(range(len(content.run.objectives)), 2)
    return [_scatter(content, members, others, pair) for pair in pairs]


def _members(content: ReportContent) -> list[FrozenTrial]:
    return front(completed(content), content.run)


def _scatter(
    content: ReportContent, members: Sequence[FrozenTrial], others: Sequence[FrozenTrial], pair: tuple[int, int]
) -> str:
    first, second = (content.run.objectives[k] for k in pair)

    def places(trials: Sequence[FrozenTrial]) -> tuple[list[float], list[float]]:
        return [trial.values[pair[0]] for trial in trials], [trial.values[pair[1]] for trial in trials]

    with mpl.rc_context(STYLE):
        figure, axes = new_figure(4.9, 3.2)
        axes.scatter(*places(others), s=18, facecolors="none", edgecolors=MUTED, label="beaten")
        axes.scatter(*places(members), s=26, color=ACCENT, label="Pareto front")
        if len(content.run.objectives) == 2:  # with three, neighbours in a pair need not be neighbours
            axes.plot(*places(members), color=ACCENT, linewidth=0.8, alpha=0.5)
        axes.scatter(*places([content.best]), s=90, facecolors="none", edgecolors=BAD, linewidths=1.8)
        axes.set_xlabel(f"{first.metric} ({first.direction.lower()})")
        axes.set_ylabel(f"{second.metric} ({second.direction.lower()})")
        axes.legend(loc="best", fontsize=8)
        return svg(figure, f"Pareto front of {first.metric} and {second.metric}")
