"""Every sampler, through claims and several workers, on every kind of study that the table gives it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import optuna
import pytest
from optuna._hypervolume import compute_hypervolume
from optuna.trial import TrialState

from autoglm_api.attempts import TrialAttribute
from autoglm_api.exits import Cause
from autoglm_api.run import Run
from autoglm_api.samplers import SAMPLERS, Sampler, SamplerType, sampler_problems
from autoglm_api.space import Parameter, is_active, ordered
from autoglm_store.attempts import create_retry, fail, infeasible, tell
from autoglm_store.claim import Nothing
from autoglm_store.evolution import CmaEs
from autoglm_store.front import front
from autoglm_store.ledger import best
from autoglm_store.points import Assignment, next_assignment
from autoglm_store.sampling import distribution, suggest

from .studies import ME, X, make_run, make_study, reload

KINDS = get_args(SamplerType)
LEARNERS = [kind for kind in KINDS if SAMPLERS[kind].fields]
Y = {"name": "y", "int": {"min": 1, "max": 64, "log": True}}
X_ON_GRID = {"name": "x", "float": {"min": 0.0, "max": 1.0, "step": 0.25}}
COLOUR = {"name": "colour", "categorical": {"choices": ["red", "green", 3]}}
DEPTH = {"name": "depth", "int": {"min": 1, "max": 5}, "when": {"parameter": "colour", "in": ["red"]}}
PLAIN = [X, Y]
SPACES = {"categorical": [COLOUR], "conditional": [COLOUR, DEPTH], "constraints": [], "objectives": []}
BOTH = [{"metric": "accuracy", "direction": "Maximize"}, {"metric": "latency_p95_ms", "direction": "Minimize"}]
ALL_THREE = [*BOTH, {"metric": "recall", "direction": "Maximize"}]
BELOW_HALF = {"metric": "loss", "operator": "LessOrEqual", "value": 0.5}
EIGHT = 8


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"journal://{tmp_path}/journal.log"


def space_of(kind: str, feature: str = "") -> list[dict[str, Any]]:
    return [X_ON_GRID if kind == "Grid" else X, Y, *SPACES.get(feature, [])]


def run_of(kind: str, parameters: list[dict[str, Any]], maximum: int = EIGHT, **changes: Any) -> Any:
    sizes = {"startupTrials": 4} if kind in ("TPE", "GP", "CmaEs") else {}
    sizes = {"populationSize": 4} if kind.startswith("NSGA") else sizes
    sampler = {"type": kind, "seed": 5, **sizes, **changes.pop("sampler", {})}
    return make_run(parameters, trials={"max": maximum, "retries": 2}, sampler=sampler, **changes)


def assignments(study: optuna.Study, run: Run) -> Iterator[Assignment]:
    while not isinstance(given := next_assignment(study, run, ME), Nothing):
        yield given


def cells(feature: str, *, can: bool) -> list[str]:
    return [kind for kind in KINDS if getattr(SAMPLERS[kind], feature) == can]


def check(point: Any, parameters: tuple[Parameter, ...]) -> None:
    assert {parameter.name for parameter in parameters if is_active(parameter, point)} == point.keys()
    assert all(parameter.contains(point[parameter.name]) for parameter in parameters if parameter.name in point)


@pytest.mark.parametrize("feature", SPACES)
def test_what_the_table_denies_is_refused_with_a_sentence_that_names_who_can(feature: str) -> None:
    for kind in cells(feature, can=False):
        parameters = [Parameter.model_validate(each) for each in space_of(kind, feature)]
        counts = {"constraints": int(feature == "constraints"), "objectives": 1 + (feature == "objectives")}
        told = " ".join(sampler_problems(Sampler(type=kind), parameters, **counts))
        assert kind in told
        assert all(other in told for other in cells(feature, can=True))
        assert feature not in ("categorical", "conditional") or "colour" in told or "depth" in told


@pytest.mark.parametrize(
    ("kind", "feature"),
    [(kind, feature) for feature in ("categorical", "conditional") for kind in cells(feature, can=True)],
)
def test_spaces_that_the_table_allows_are_searched(kind: str, feature: str, journal: str) -> None:
    run, limits = run_of(kind, space_of(kind, feature))
    study = make_study(journal, run, limits)
    seen = set()
    for given in assignments(study, run):
        check(given.parameters, run.parameters)
        seen.add(given.parameters["colour"])
        tell(study, given.trial, TrialState.COMPLETE, float(given.parameters["x"]))
    assert len(study.get_trials()) == EIGHT
    assert len(seen) > 1
    assert not list(sampler_problems(run.sampler, run.parameters))


@pytest.mark.parametrize("kind", cells("constraints", can=True))
def test_constraints_steer_the_samplers_that_learn_and_never_mislead_the_others(kind: str, journal: str) -> None:
    maximum = 10 if kind == "GP" else 30
    run, limits = run_of(kind, space_of(kind), maximum, constraints=[BELOW_HALF])
    study = make_study(journal, run, limits)
    for given in assignments(study, run):
        x = float(given.parameters["x"])
        given.trial.set_constraint("0:loss", x - 0.5)
        tell(study, given.trial, TrialState.COMPLETE, x)
    xs = [trial.params["x"] for trial in study.get_trials()]
    leader = best(study.get_trials(), run)
    assert leader is not None
    assert leader.params["x"] <= 0.5
    if kind in LEARNERS:
        late = xs[len(xs) // 2 :]
        assert sum(x <= 0.55 for x in late) > len(late) / 2, xs


FEATURES = ("categorical", "conditional", "constraints")


@pytest.mark.parametrize(
    ("kind", "feature", "metrics"),
    [
        (kind, feature, metrics)
        for kind in cells("objectives", can=True)
        for feature, metrics in zip(FEATURES, (BOTH, ALL_THREE, BOTH), strict=True)
        if getattr(SAMPLERS[kind], feature)
    ],
    ids=lambda each: each if isinstance(each, str) else str(len(each)),
)
def test_several_objectives_go_with_all_else_that_the_table_allows(
    kind: str, feature: str, metrics: list[dict[str, str]], journal: str
) -> None:
    limited = {"constraints": [BELOW_HALF]} if feature == "constraints" else {}
    maximum = 6 if kind == "GP" else EIGHT
    run, limits = run_of(kind, space_of(kind, feature), maximum, objectives=metrics, **limited)
    study = make_study(journal, run, limits)
    for given in assignments(study, run):
        check(given.parameters, run.parameters)
        x, y = float(given.parameters["x"]), float(given.parameters["y"])
        if given.trial.number == 3:
            infeasible(study, given.attempt, Cause.OUT_OF_MEMORY, "does not fit")
            continue
        if limited:
            given.trial.set_constraint("0:loss", x - 0.5)
        tell(study, given.trial, TrialState.COMPLETE, [x, y, x * y][: len(metrics)])
    trials = study.get_trials()
    assert len(trials) == maximum
    assert trials[3].state == TrialState.PRUNED
    assert front(trials, run)
    assert all(member.params["x"] <= 0.5 for member in front(trials, run) if limited)
    assert not list(sampler_problems(run.sampler, run.parameters, objectives=len(metrics)))


@pytest.mark.parametrize("kind", ["TPE", "GP", "NSGAII", "NSGAIII"])
def test_learners_find_a_better_front_than_chance(kind: str, journal: str) -> None:
    """Two hills, at x = 0.2 and x = 0.4, as far as z is 0.7: the volume that the front dominates grows faster."""
    maximum = {"GP": 12, "TPE": 40}.get(kind, 100)

    def volume(sampler: str, url: str) -> float:
        run, limits = run_of(sampler, [X, {"name": "z", "float": {"min": 0.0, "max": 1.0}}], maximum, objectives=BOTH)
        study = make_study(url, run, limits)
        for given in assignments(study, run):
            x, z = float(given.parameters["x"]), float(given.parameters["z"])
            off = abs(z - 0.7)
            tell(study, given.trial, TrialState.COMPLETE, [-abs(x - 0.2) - off, abs(x - 0.4) + off])
        points = np.array([[-first, second] for first, second in (t.values for t in front(study.get_trials(), run))])
        return compute_hypervolume(points, np.array([2.0, 2.0]))

    assert volume(kind, journal) > volume("Random", f"{journal}.random")


@pytest.mark.parametrize("kind", ["TPE", "NSGAII"])
def test_with_several_objectives_points_that_cannot_be_trained_are_shunned(kind: str, journal: str) -> None:
    run, limits = run_of(kind, [X, Y], maximum=60, objectives=BOTH)
    study = make_study(journal, run, limits)
    xs = []
    for given in assignments(study, run):
        x = float(given.parameters["x"])
        xs.append(x)
        if x > 0.5:
            infeasible(study, given.attempt, Cause.OUT_OF_MEMORY, "does not fit")
        else:
            tell(study, given.trial, TrialState.COMPLETE, [x, x])
    late = xs[len(xs) // 2 :]
    assert sum(x <= 0.5 for x in late) > len(late) / 2, xs


def test_only_cma_es_takes_one_objective_alone() -> None:
    assert cells("objectives", can=False) == ["CmaEs"]


@pytest.mark.parametrize("kind", KINDS)
def test_workers_with_one_seed_never_begin_at_equal_points(kind: str, journal: str) -> None:
    run, limits = run_of(kind, space_of(kind), maximum=12)
    workers = [make_study(journal, run, limits), reload(journal, run), reload(journal, run)]
    points = [next_assignment(study, run, ME).parameters for _ in range(4) for study in workers]  # type: ignore[union-attr]
    assert len({(point["x"], point["y"]) for point in points}) == len(points)


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_goes_on_in_a_new_process_as_it_would_have_in_the_old_one(kind: str, tmp_path: Path) -> None:
    maximum = 7 if kind == "GP" else 20
    run, limits = run_of(kind, space_of(kind), maximum)
    histories = []
    for restarts in (False, True):
        url = f"journal://{tmp_path}/{restarts}.log"
        study = make_study(url, run, limits)
        while not isinstance(given := next_assignment(study, run, ME), Nothing):
            tell(study, given.trial, TrialState.COMPLETE, float(given.parameters["x"]) / float(given.parameters["y"]))
            study = reload(url, run) if restarts else study
        histories.append([trial.params for trial in study.get_trials()])
    assert histories[0] == histories[1]


@pytest.mark.parametrize("kind", ["TPE", "GP", "CmaEs"])
def test_learners_come_closer_to_the_best_than_chance(kind: str, journal: str) -> None:
    def distance(sampler: str, url: str) -> float:
        run, limits = run_of(sampler, [X, {"name": "z", "float": {"min": 0.0, "max": 1.0}}], 14 if kind == "GP" else 40)
        study = make_study(url, run, limits)
        for given in assignments(study, run):
            x, z = float(given.parameters["x"]), float(given.parameters["z"])
            tell(study, given.trial, TrialState.COMPLETE, -((x - 0.3) ** 2) - (z - 0.8) ** 2)
        return -sorted(trial.value or 0.0 for trial in study.get_trials())[-3]

    assert distance(kind, journal) < distance("Random", f"{journal}.random")


@pytest.mark.parametrize("kind", ["GP", "CmaEs", "NSGAII"])
def test_points_that_cannot_be_trained_are_shunned(kind: str, journal: str) -> None:
    maximum = 20 if kind == "GP" else 48
    run, limits = run_of(kind, [X, Y], maximum)
    study = make_study(journal, run, limits)
    xs = []
    for given in assignments(study, run):
        x = float(given.parameters["x"])
        xs.append(x)
        if x > 0.5:
            given.trial.report(1000.0 * x, 1)
            infeasible(study, given.attempt, Cause.OUT_OF_MEMORY, "does not fit")
        else:
            tell(study, given.trial, TrialState.COMPLETE, x)
    late = xs[len(xs) // 2 :]
    assert sum(x <= 0.5 for x in late) > len(late) / 2, xs


def test_pruned_trials_teach_by_their_last_report(journal: str) -> None:
    run, limits = run_of("CmaEs", [X, Y], maximum=40)
    study = make_study(journal, run, limits)
    for given in assignments(study, run):
        x = float(given.parameters["x"])
        given.trial.report(x, 1)
        tell(study, given.trial, TrialState.PRUNED)
    xs = [trial.params["x"] for trial in study.get_trials()]
    assert sum(xs[20:]) > sum(xs[:20])


def test_cma_es_begins_around_the_best_known_point(journal: str) -> None:
    run, limits = run_of(
        "CmaEs", [X, {"name": "z", "float": {"min": 0.0, "max": 1.0}}], 24, enqueue=[{"x": 0.9, "z": 0.1}]
    )
    study = make_study(journal, run, limits)
    for given in assignments(study, run):
        value = 1.0 if given.trial.number == 0 else 0.0
        tell(study, given.trial, TrialState.COMPLETE, value)
    first = [
        trial.params for trial in study.get_trials() if any(key.endswith("generation") for key in trial.system_attrs)
    ]
    assert sum(point["x"] for point in first[:6]) / 6 > 0.65
    assert sum(point["z"] for point in first[:6]) / 6 < 0.35


def test_cma_es_takes_a_single_parameter_and_steps(journal: str) -> None:
    for space in ([X], [{"name": "x", "int": {"min": 1, "max": 9, "step": 2}}, Y]):
        run, limits = run_of("CmaEs", space, maximum=14)
        study = make_study(f"{journal}.{len(space)}", run, limits)
        for given in assignments(study, run):
            check(given.parameters, run.parameters)
            tell(study, given.trial, TrialState.COMPLETE, float(given.parameters["x"]))


@pytest.mark.parametrize("kind", ["CmaEs", "NSGAII"])
def test_a_retry_stays_in_its_generation_and_at_its_point(kind: str, journal: str) -> None:
    run, limits = run_of(kind, PLAIN, maximum=20)
    study = make_study(journal, run, limits)
    lost = 0
    for given in assignments(study, run):
        if given.trial.number == 12:
            lost = given.trial.number
            fail(study, given.attempt, Cause.LOST, "pod gone")
            create_retry(study, study.get_trials()[lost])
            continue
        tell(study, given.trial, TrialState.COMPLETE, float(given.parameters["x"]))
    original = study.get_trials()[lost]
    (retry,) = [trial for trial in study.get_trials() if trial.user_attrs.get(TrialAttribute.RETRY_OF) == lost]
    assert retry.params == original.params
    (generation,) = [key for key in original.system_attrs if key.endswith(":generation")]
    assert retry.system_attrs[generation] == original.system_attrs[generation]


def test_good_points_are_in_the_first_generation(journal: str) -> None:
    run, limits = run_of("NSGAII", PLAIN, maximum=24, enqueue=[{"x": 0.99, "y": 2}])
    study = make_study(journal, run, limits)
    for given in assignments(study, run):
        tell(study, given.trial, TrialState.COMPLETE, float(given.parameters["x"]))
    inherited = [trial for trial in study.get_trials()[1:] if trial.params["x"] == 0.99]
    assert inherited, "nobody descends from the enqueued point"


def test_a_sobol_point_is_never_given_twice_whatever_happens_to_claims(journal: str) -> None:
    run, limits = run_of("QMC", PLAIN, maximum=32)
    study = make_study(journal, run, limits)
    for given in assignments(study, run):
        if given.trial.number % 5 == 2 and given.attempt.user_attrs.get(TrialAttribute.RETRY_OF) is None:
            fail(study, given.attempt, Cause.LOST, "pod gone")
            create_retry(study, study.get_trials()[given.trial.number])
        else:
            tell(study, given.trial, TrialState.COMPLETE, 0.5)
    xs = sorted(trial.params["x"] for trial in study.get_trials() if trial.state == TrialState.COMPLETE)
    assert len(xs) == 32
    assert len(set(xs)) == 32
    assert max(after - before for before, after in pairwise(xs)) < 0.15, "the space is covered evenly"


def test_other_seeds_give_other_sobol_points(tmp_path: Path) -> None:
    points = []
    for seed in (1, 2):
        run, limits = run_of("QMC", PLAIN, sampler={"seed": seed})
        given = next_assignment(make_study(f"journal://{tmp_path}/{seed}.log", run, limits), run, ME)
        assert isinstance(given, Assignment)
        points.append(given.parameters)
    assert points[0] != points[1]


def test_the_declared_space_is_the_one_that_suggest_asks_for() -> None:
    run, _ = run_of("QMC", [X, X_ON_GRID | {"name": "s"}, Y, COLOUR, DEPTH | {"when": None}])
    study = optuna.create_study()
    trial = study.ask()
    suggest(trial, run.parameters)
    stored = study.get_trials()[0].distributions
    assert stored == {parameter.name: distribution(parameter) for parameter in ordered(run.parameters)}


def test_cma_es_keeps_no_pickle_in_the_database(journal: str) -> None:
    run, limits = run_of("CmaEs", PLAIN, maximum=24)
    study = make_study(journal, run, limits)
    for given in assignments(study, run):
        tell(study, given.trial, TrialState.COMPLETE, float(given.parameters["x"]))
    keys = {key for trial in study.get_trials() for key in trial.system_attrs}
    assert keys == {"autoglm:cma:generation"}
    assert issubclass(CmaEs, optuna.samplers.BaseSampler)
