"""Each task's declaration agrees with itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoglm_api.catalog import TASKS, TaskDeclaration
from autoglm_api.plugins import resolve
from autoglm_api.space import Choices, FloatRange, IntRange, Parameter, check_parameters, check_point

tasks = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@tasks
def test_default_space_is_sound_and_known(task: TaskDeclaration) -> None:
    check_parameters(task.parameters)
    task.check_space(task.parameters)


@tasks
def test_good_points_are_in_the_default_space(task: TaskDeclaration) -> None:
    assert len(list(task.good_points(task.parameters))) == len(task.points)
    for point in task.points:
        check_point(task.parameters, point, where="points")


@tasks
def test_defaults_are_values_that_the_knobs_take(task: TaskDeclaration) -> None:
    for name, knob in task.knobs.items():
        for value in (knob.default, *knob.by_method.values()):
            knob.check(Parameter(name=name, categorical=Choices(choices=(value,))))
    assert set(task.shown) <= set(task.metrics)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("text-classification", 2e-5, 5e-3), ("token-classification", 2e-5, 5e-3), ("text-generation", 4e-6, 1.5e-3)],
)
def test_a_default_space_searches_around_the_rates_that_its_methods_have_in_the_task(
    name: str, low: float, high: float
) -> None:
    task = TASKS[name]
    (rate,) = (parameter for parameter in task.parameters if parameter.name == "learning_rate")
    assert isinstance(rate.domain, FloatRange)
    assert (rate.domain.min, rate.domain.max) == pytest.approx((low, high))
    methods = next(parameter.domain.choices for parameter in task.parameters if parameter.name == "method")
    usual = [task.defaults({"method": method})["learning_rate"] for method in methods if method != "head"]
    assert (min(usual) / 5, max(usual) * 5) == pytest.approx((low, high))


def test_a_good_point_keeps_what_fits_and_leaves_the_rest_to_the_sampler() -> None:
    task = TASKS["text-classification"]
    space = (
        Parameter(name="method", categorical=Choices(choices=("lora", "full"))),
        Parameter(name="max_length", categorical=Choices(choices=(48,))),
        Parameter(name="learning_rate", float_=FloatRange(min=1e-5, max=5e-4, log=True)),
    )
    lora, full = task.good_points(space)
    assert lora == {"method": "lora"}
    assert full == {"method": "full", "learning_rate": 1e-4}


def test_a_good_point_has_the_default_of_what_it_does_not_name() -> None:
    task = TASKS["text-classification"]
    threshold = Parameter(name="threshold", float_=FloatRange(min=0.1, max=0.9))
    assert [point["threshold"] for point in task.good_points((*task.parameters, threshold))] == [0.5] * 3
    assert list(task.good_points((threshold,))) == [{"threshold": 0.5}]


def test_a_method_without_a_good_point_begins_at_its_defaults_and_points_of_others_are_left_out() -> None:
    task = TASKS["text-classification"]
    rate = Parameter(name="learning_rate", float_=FloatRange(min=1e-5, max=1e-1, log=True))
    method = Parameter(name="method", categorical=Choices(choices=("prefix", "full")))
    full, prefix = task.good_points((method, rate))
    assert full == {"method": "full", "learning_rate": 1e-4}
    assert prefix == {"method": "prefix", "learning_rate": 5e-3}
    assert list(task.good_points((rate,))) == [{"learning_rate": 1e-3}]


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        (Parameter(name="batch_size", int_=IntRange(min=0, max=8)), r"batch_size must lie in \[1, 4096\], got 0"),
        (
            Parameter(name="dropout", categorical=Choices(choices=(0.1, 1.5))),
            r"dropout must lie in \[0, 0.9\], got 1.5",
        ),
    ],
)
def test_a_knob_that_can_never_work_is_refused_at_the_door(parameter: Parameter, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TASKS["text-classification"].check_space((parameter,))


def test_only_the_knobs_that_a_method_looks_at_have_defaults_there() -> None:
    task = TASKS["text-classification"]
    assert not {"learning_rate", "lora_r", "patience"} & set(task.defaults({"method": "head"}))
    assert {"method", "head_c", "pooling"} <= set(task.defaults({"method": "head"}))
    assert task.defaults({"method": "full"})["learning_rate"] == 1e-4


def test_a_text_that_is_tuned_must_be_a_text() -> None:
    task = TASKS["text-classification"]
    task.check_space(
        (
            Parameter(
                name="prompt_text",
                categorical=Choices(choices=("Is it red?", "天空")),
            ),
        )
    )
    for domain in ({"categorical": Choices(choices=(1, "x"))}, {"float_": FloatRange(min=0, max=1)}):
        with pytest.raises(ValueError, match="prompt_text takes texts"):
            task.check_space((Parameter(name="prompt_text", **domain),))


def test_a_plug_in_whose_code_fails_in_any_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unlicensed.py").write_text("raise RuntimeError('no licence found')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="unlicensed:Task cannot be loaded in this image: RuntimeError: no licence"):
        resolve("unlicensed:Task")
