"""Several objectives: what is best, what is on the Pareto front, when the goals are reached."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoglm_api.attempts import TrialAttribute
from autoglm_api.conditions import Reason
from autoglm_store.front import front, spread
from autoglm_store.ledger import best, end_reason, is_candidate, top, would_lead
from autoglm_store.preference import costs, preference

from .studies import make_run

ACCURACY = {"metric": "accuracy", "direction": "Maximize"}
LATENCY = {"metric": "latency_p95_ms", "direction": "Minimize"}
LOSS = {"metric": "loss", "direction": "Minimize"}
RUN, LIMITS = make_run(objectives=[ACCURACY, LATENCY])
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def trial(number: int, *values: float, constraints: Any = None, **attributes: Any) -> FrozenTrial:
    made = create_trial(
        values=values,
        user_attrs={TrialAttribute[key.upper()]: known for key, known in attributes.items()},
        constraints=constraints,
    )
    made.number = number
    return made


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [each.number for each in trials]


def test_the_front_holds_what_nothing_beats_and_the_first_objective_orders_it() -> None:
    trials = [trial(0, 0.8, 10), trial(1, 0.9, 30), trial(2, 0.7, 20), trial(3, 0.6, 5), trial(4, 0.9, 29)]
    assert numbers(front(trials, RUN)) == [4, 0, 3]
    assert numbers(top(trials, RUN)) == [4, 1, 0, 2, 3]
    assert best(trials, RUN) is trials[4]


def test_of_equal_results_the_older_one_stands_for_all() -> None:
    assert numbers(front([trial(0, 0.5, 5), trial(1, 0.5, 5), trial(2, 0.5, 6)], RUN)) == [0]


def test_what_cannot_be_best_is_not_on_the_front() -> None:
    trials = [
        trial(0, 0.9, 5, constraints={"0:loss": 1.0}),
        trial(1, 0.9, float("inf")),
        trial(2, 0.9, 5, imported=True),
        trial(3, 0.9, 5, void=True),
        trial(4, 0.9, 5, duplicate_of=0),
        trial(5, 0.1, 90),
    ]
    assert numbers(front(trials, RUN)) == [5]
    assert not is_candidate(create_trial(state=TrialState.PRUNED))


@pytest.mark.parametrize(
    ("goals", "ends", "winner"),
    [
        ([None, None], False, 1),
        ([0.85, None], True, 1),
        ([None, 15], True, 0),
        ([0.75, 15], True, 0),
        ([0.85, 15], False, 1),
    ],
)
def test_a_study_ends_when_one_trial_reaches_every_goal_and_that_trial_is_best(
    goals: list[float | None], ends: bool, winner: int
) -> None:
    both = [{**each, "goal": goal} for each, goal in zip((ACCURACY, LATENCY), goals, strict=True)]
    run, limits = make_run(objectives=both)
    trials = [trial(0, 0.8, 10), trial(1, 0.9, 30)]
    assert (end_reason(trials, run, limits, NOW) == Reason.GOAL_REACHED) is ends
    assert numbers(top(trials, run, 1)) == [winner]


RESULTS = st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 3), min_size=1, max_size=30)


@given(RESULTS, st.one_of(st.none(), st.integers(0, 6)))
def test_the_front_is_the_front_and_its_first_member_the_best(results: list[Any], goal: int | None) -> None:
    run, _ = make_run(objectives=[{**ACCURACY, "goal": goal}, LATENCY, LOSS])
    trials = [trial(number, *values) for number, values in enumerate(results)]

    def beats(one: FrozenTrial, other: FrozenTrial) -> bool:
        ours, theirs = costs(one.values, run), costs(other.values, run)
        return ours != theirs and all(own <= known for own, known in zip(ours, theirs, strict=True))

    found = front(trials, run)
    unbeaten = [each for each in trials if not any(beats(other, each) for other in trials)]
    assert {tuple(each.values) for each in found} == {tuple(each.values) for each in unbeaten}
    assert len({tuple(each.values) for each in found}) == len(found)
    assert best(trials, run) is found[0]
    assert front(found[::-1], run) == found
    leads = [would_lead(each.values, [other for other in trials if other is not each], run, 1) for each in trials]
    assert leads[trials.index(found[0])] or results.count(results[found[0].number]) > 1


@given(st.sets(st.integers(0, 200), min_size=1, max_size=60), st.integers(3, 12))
def test_ten_of_a_long_front_are_the_ends_and_some_between(places: set[int], most: int) -> None:
    members = front([trial(at, float(at), float(at)) for at in places], RUN)
    shown = spread(members, RUN, most)
    assert len(members) == len(places)
    assert len(shown) == min(most, len(members))
    assert shown[0] is members[0]
    assert shown[-1] is members[-1]
    assert sorted(shown, key=lambda each: preference(each.values, RUN)) == shown


def test_the_best_of_every_objective_is_shown() -> None:
    run, _ = make_run(objectives=[ACCURACY, LATENCY, LOSS])
    bent = [trial(n, 1 - n / 40, 10 + n if n != 17 else 1.0, 5 - n / 10 if n != 23 else 0.5) for n in range(40)]
    shown = spread(front(bent, run), run)
    assert len(shown) == 10
    assert {0, 17, 23} <= set(numbers(shown))
