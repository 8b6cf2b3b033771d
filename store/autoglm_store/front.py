"""The Pareto front of a study with several objectives: the trials between which only people can choose. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from operator import le

from optuna.trial import FrozenTrial

from autoglm_api.run import Run

from .ledger import top
from .preference import costs

SHOWN = 10


def front(trials: Sequence[FrozenTrial], run: Run) -> list[FrozenTrial]:
    """Candidates that no other one equals or beats in every objective, in the order of `ledger.top`.

    The first of them becomes the model. Of trials with equal values the older one stands for all.
    """
    found: list[FrozenTrial] = []
    known: list[tuple[float, ...]] = []
    for trial in top(trials, run, len(trials)):
        own = costs(trial.values, run)
        # Whatever beats a trial stands before it, or is beaten itself by one that does.
        if not any(all(map(le, other, own)) for other in known):
            found.append(trial)
            known.append(own)
    return found


def spread(members: Sequence[FrozenTrial], run: Run, n: int = SHOWN) -> list[FrozenTrial]:
    """At most `n` of a front's members, in its order: the first, the best of each objective, and some between them."""
    if len(members) <= n:
        return list(members)
    places = range(len(members))
    by_cost = [costs(member.values, run) for member in members]
    chosen = {0, *(min(places, key=lambda place: by_cost[place][k]) for k in range(len(run.objectives)))}
    evenly = (round(step * (len(members) - 1) / (n - 1)) for step in range(n))
    for place in evenly:
        if len(chosen) < n:
            chosen.add(place)
    return [members[place] for place in sorted(chosen)]
