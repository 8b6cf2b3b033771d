"""Each task's declaration agrees with itself."""

from __future__ import annotations

import pytest

from autoglm_api.catalog import DEFAULTS, TASKS, TaskDeclaration
from autoglm_api.space import Choices, FloatRange, Parameter, check_parameters, check_point

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
def test_every_knob_has_a_default_of_its_type(task: TaskDeclaration) -> None:
    defaults = DEFAULTS[task.name]
    assert set(defaults) == set(task.knobs)
    assert {name: type(value) for name, value in defaults.items()} == dict(task.knobs)


def test_a_good_point_keeps_what_fits_and_leaves_the_rest_to_the_sampler() -> None:
    task = TASKS["text-classification"]
    space = (
        Parameter(name="method", categorical=Choices(choices=("lora", "full"))),
        Parameter(name="max_length", categorical=Choices(choices=(48,))),
        Parameter(name="learning_rate", float_=FloatRange(min=1e-5, max=1e-3, log=True)),
    )
    lora, full = task.good_points(space)
    assert lora == {"method": "lora"}
    assert full == {"method": "full", "learning_rate": 1e-4}
