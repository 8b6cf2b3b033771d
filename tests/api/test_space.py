"""The search space: bounds, conditions, points, size."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from autoglm_api.space import (
    Parameter,
    all_points,
    check_parameters,
    check_point,
    is_active,
    ordered,
    parameter_problems,
    space_size,
)

METHOD = {"name": "method", "categorical": {"choices": ["head", "lora", "full"]}}
RANK = {"name": "r", "int": {"min": 4, "max": 64, "log": True}, "when": {"parameter": "method", "in": ["lora"]}}


def space(*parameters: dict[str, object]) -> tuple[Parameter, ...]:
    return TypeAdapter(tuple[Parameter, ...]).validate_python(parameters)


@pytest.mark.parametrize(
    ("domain", "sentence"),
    [
        ({"float": {"min": 3, "max": 1}}, "min 3.0 and max 1.0"),
        ({"float": {"min": 0, "max": 1, "log": True}}, "log needs min > 0, got 0"),
        ({"int": {"min": 0, "max": 9, "log": True}}, "log needs min > 0, got 0"),
        ({"int": {"min": 1, "max": 9, "log": True, "step": 2}}, "log and step exclude each other"),
        ({"categorical": {"choices": []}}, "at least 1 item"),
        ({"categorical": {"choices": ["a", "a"]}}, "'a' equals an earlier one"),
        ({"categorical": {"choices": [1, 1.0]}}, "1.0 equals an earlier one"),
        ({"categorical": {"choices": [1, True]}}, "True equals an earlier one"),
        ({"float": {"min": math.nan, "max": 1}}, "finite"),
        ({"float": {"min": 0, "max": math.inf}}, "finite"),
        ({}, "exactly one of float, int, categorical, got 0"),
        ({"int": {"min": 1, "max": 2}, "float": {"min": 1, "max": 2}}, "exactly one of float, int, categorical, got 2"),
    ],
)
def test_unsound_parameter_is_refused_with_its_value(domain: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        space({"name": "p", **domain})


def test_choices_keep_their_types() -> None:
    (parameter,) = space({"name": "p", "categorical": {"choices": [2, 0.5, True, "1", ""]}})
    assert [type(choice) for choice in parameter.domain.choices] == [int, float, bool, str, str]  # type: ignore[union-attr]
    assert parameter.contains("1")
    assert not parameter.contains(1)


def test_every_problem_of_a_space_is_named() -> None:
    parameters = space(
        METHOD,
        METHOD,
        {"name": "a", "int": {"min": 1, "max": 2}, "when": {"parameter": "nobody", "in": [1]}},
        {"name": "b", "int": {"min": 1, "max": 2}, "when": {"parameter": "method", "in": ["lora", "qlora"]}},
    )
    found = list(parameter_problems(parameters))
    assert [problem.split(": ", 1)[1].split(" ")[0] for problem in found] == ["method", "a.when", "b.when:"]
    assert "'qlora'" in found[2]
    assert "known: a, b, method" in found[1]


def test_circle_is_named() -> None:
    parameters = space(
        {"name": "a", "int": {"min": 1, "max": 2}, "when": {"parameter": "b", "in": [1]}},
        {"name": "b", "int": {"min": 1, "max": 2}, "when": {"parameter": "a", "in": [1]}},
    )
    with pytest.raises(ValueError, match="a -> b -> a"):
        check_parameters(parameters)


def test_a_parameter_on_itself_is_a_circle() -> None:
    with pytest.raises(ValueError, match="a -> a"):
        check_parameters(space({"name": "a", "int": {"min": 1, "max": 2}, "when": {"parameter": "a", "in": [1]}}))


def test_parents_come_before_children_in_any_order() -> None:
    deep = {"name": "alpha", "int": {"min": 1, "max": 2}, "when": {"parameter": "r", "in": [8]}}
    assert [parameter.name for parameter in ordered(space(deep, RANK, METHOD))] == ["method", "r", "alpha"]


def test_child_of_an_inactive_parent_is_inactive() -> None:
    alpha = {"name": "alpha", "int": {"min": 1, "max": 2}, "when": {"parameter": "r", "in": [8]}}
    child = space(METHOD, RANK, alpha)[2]
    assert is_active(child, {"method": "lora", "r": 8})
    assert not is_active(child, {"method": "head"})
    assert not is_active(child, {"method": "lora", "r": 16})


@pytest.mark.parametrize(
    ("point", "sentence"),
    [
        ({"rank": 1}, "unknown parameter rank; known: method, r"),
        ({"r": 65}, r"r = 65 is outside \[4, 64\] \(log\)"),
        ({"r": 8.0}, "r = 8.0 is outside"),
        ({"method": "qlora"}, "method = 'qlora' is outside choices"),
        ({"method": "head", "r": 8}, r"r exists only when method is one of \['lora'\], but it is 'head'"),
    ],
)
def test_impossible_point_is_refused(point: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"enqueue\\[0\\]: {sentence}"):
        check_point(space(METHOD, RANK), point, where="enqueue[0]")  # type: ignore[arg-type]


def test_partial_points_are_allowed() -> None:
    check_point(space(METHOD, RANK), {"r": 8}, where="enqueue[0]")


def test_size_counts_conditions() -> None:
    rank = {"name": "r", "int": {"min": 1, "max": 4}, "when": {"parameter": "method", "in": ["lora"]}}
    assert space_size(space(METHOD, rank)) == 1 + 4 + 1
    assert space_size(space(METHOD, {"name": "lr", "float": {"min": 0, "max": 1}})) == math.inf
    assert space_size(space({"name": "lr", "float": {"min": 0, "max": 1, "step": 0.1}})) == 11


@given(st.data())
def test_all_points_are_distinct_contained_and_as_many_as_the_size_says(data: st.DataObject) -> None:
    parameters: list[dict[str, object]] = []
    for index in range(data.draw(st.integers(1, 4))):
        choices = data.draw(
            st.lists(st.sampled_from(["a", "b", 1, 2, 2.5, False]), min_size=1, max_size=3, unique=True)
        )
        parameter: dict[str, object] = {"name": f"p{index}", "categorical": {"choices": choices}}
        if index and data.draw(st.booleans()):
            parent = data.draw(st.sampled_from(parameters))
            named = data.draw(st.sets(st.sampled_from(parent["categorical"]["choices"]), min_size=1))  # type: ignore[index]
            parameter["when"] = {"parameter": parent["name"], "in": list(named)}
        parameters.append(parameter)
    built = space(*parameters)
    points = list(all_points(built))
    assert len(points) == space_size(built)
    assert len({tuple(sorted((name, repr(value)) for name, value in point.items())) for point in points}) == len(points)
    for point in points:
        check_point(built, point, where="point")
