"""Which of two results is better, whatever the number of objectives. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from autoglm_api.run import Run


def preference(values: Sequence[float], run: Run) -> tuple[bool, tuple[float, ...]]:
    """Sorts results, best first: those that reach every goal, then by the first objective, then by the next.

    The best of them is on the Pareto front: what beats it in every objective would stand before it.

    Args:
        values: of a trial's objectives, in their order.
        run: the frozen run.
    """
    return not at_goal(values, run), costs(values, run)


def costs(values: Sequence[float], run: Run) -> tuple[float, ...]:
    """The values of the objectives, each turned so that less is better."""
    return tuple(objective.cost(value) for objective, value in zip(run.objectives, values, strict=True))


def at_goal(values: Sequence[float], run: Run) -> bool:
    """Whether the study has goals and `values` reach all of them."""
    given = [(each, value) for each, value in zip(run.objectives, values, strict=True) if each.goal is not None]
    return bool(given) and all(objective.reaches(value) for objective, value in given)
