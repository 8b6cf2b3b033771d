"""The search space: parameters, their conditions, and what a point in it is. Pure; Optuna is not known here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, assert_never

from pydantic import Field, model_validator

from .base import Identifier, Model, Number, Scalar


class FloatRange(Model):
    """A closed interval of floats; `log` and `step` exclude each other."""

    min: Number
    max: Number
    log: bool = False
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _sound(self) -> FloatRange:
        _check_range(self.min, self.max, self.log, self.step)
        return self


class IntRange(Model):
    """A closed interval of integers; `log` and `step` exclude each other."""

    min: Annotated[int, Field(ge=-(2**53), le=2**53)]
    max: Annotated[int, Field(ge=-(2**53), le=2**53)]
    log: bool = False
    step: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _sound(self) -> IntRange:
        _check_range(self.min, self.max, self.log, self.step)
        return self


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if low > high:
        raise ValueError(f"min must not be greater than max, got min {low} and max {high}")
    if log and low <= 0:
        raise ValueError(f"log needs min > 0, got {low}")
    if log and step is not None:
        raise ValueError("log and step exclude each other")


class Choices(Model):
    """Any scalars, kept exactly as written."""

    choices: tuple[Scalar, ...] = Field(min_length=1, max_length=128)

    @model_validator(mode="after")
    def _distinct(self) -> Choices:
        # By Python's equality, where 1 == 1.0 == True: Optuna stores a choice's index and could not tell them apart.
        for index, choice in enumerate(self.choices):
            if choice in self.choices[:index]:
                raise ValueError(f"choices must differ from each other, but {choice!r} equals an earlier one")
        return self


class When(Model):
    """The parameter exists only where another one has one of these values."""

    parameter: Identifier
    in_: tuple[Scalar, ...] = Field(alias="in", min_length=1, max_length=128)


class Parameter(Model):
    """One dimension: exactly one of `float`, `int`, `categorical`, optionally conditional."""

    name: Identifier
    float_: FloatRange | None = Field(default=None, alias="float")
    int_: IntRange | None = Field(default=None, alias="int")
    categorical: Choices | None = None
    when: When | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Parameter:
        given = sum(kind is not None for kind in (self.float_, self.int_, self.categorical))
        if given != 1:
            raise ValueError(f"parameter {self.name} needs exactly one of float, int, categorical, got {given}")
        return self

    @property
    def domain(self) -> FloatRange | IntRange | Choices:
        """Whichever of the three was given."""
        domain = self.float_ or self.int_ or self.categorical
        assert domain is not None, "a parameter has exactly one domain"
        return domain

    def contains(self, value: Scalar) -> bool:
        """Whether `value` can be suggested for this parameter."""
        domain = self.domain
        match domain:
            case Choices():
                return any(same(value, choice) for choice in domain.choices)
            case IntRange():
                whole = isinstance(value, int) and not isinstance(value, bool)
                return whole and _in_range(value, domain.min, domain.max, domain.step)
            case FloatRange():
                number = isinstance(value, int | float) and not isinstance(value, bool)
                return number and _in_range(value, domain.min, domain.max, domain.step)
            case _:
                assert_never(domain)

    def size(self) -> float:
        """How many different values there are; `inf` for a continuous interval."""
        domain = self.domain
        match domain:
            case Choices():
                return len(domain.choices)
            case IntRange():
                return (domain.max - domain.min) // (domain.step or 1) + 1
            case FloatRange():
                if domain.min == domain.max:
                    return 1
                return (
                    math.inf if domain.step is None else math.floor((domain.max - domain.min) / domain.step + 1e-9) + 1
                )
            case _:
                assert_never(domain)


def same(left: Scalar, right: Scalar) -> bool:
    """Equality in which `True` is not `1`; numbers compare by value, since JSON does not keep `1` and `1.0` apart."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def _in_range(value: Scalar, low: float, high: float, step: float | None) -> bool:
    number = float(value)
    if not low <= number <= high:
        return False
    if step is None:
        return True
    steps = (number - low) / step
    return math.isclose(steps, round(steps), abs_tol=1e-9)


def check_parameters(parameters: Sequence[Parameter]) -> None:
    """Refuse duplicate names and conditions on unknown, impossible or circular parents.

    Raises:
        ValueError: with the parameter's name and what is wrong with it.
    """
    for problem in parameter_problems(parameters):
        raise ValueError(problem)


def parameter_problems(parameters: Sequence[Parameter]) -> Iterator[str]:
    """Everything that `check_parameters` would refuse, one sentence each."""
    by_name: dict[str, Parameter] = {}
    for parameter in parameters:
        if parameter.name in by_name:
            yield f"parameters: {parameter.name} is given twice"
        by_name[parameter.name] = parameter
    unknown = False
    for parameter in parameters:
        if parameter.when is None:
            continue
        parent = by_name.get(parameter.when.parameter)
        if parent is None:
            unknown = True
            named = f"{parameter.name}.when names the unknown parameter {parameter.when.parameter}"
            yield f"parameters: {named}; known: {', '.join(sorted(by_name))}"
            continue
        for value in parameter.when.in_:
            if not parent.contains(value):
                yield f"parameters: {parameter.name}.when: {parent.name} can never be {value!r}"
    if unknown:
        return
    try:
        ordered(parameters)
    except ValueError as error:
        yield str(error)


def ordered(parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """The parameters with every parent before its children, otherwise as written.

    Raises:
        ValueError: if conditions form a circle; the circle is named.
    """
    by_name = {parameter.name: parameter for parameter in parameters}
    done: dict[str, Parameter] = {}
    for parameter in parameters:
        chain: list[str] = []
        current: Parameter | None = parameter
        while current is not None and current.name not in done:
            if current.name in chain:
                circle = " -> ".join([*chain[chain.index(current.name) :], current.name])
                raise ValueError(f"parameters: conditions form a circle: {circle}")
            chain.append(current.name)
            current = by_name[current.when.parameter] if current.when else None
        for name in reversed(chain):
            done[name] = by_name[name]
    return tuple(done.values())


def is_active(parameter: Parameter, point: Mapping[str, Scalar]) -> bool:
    """Whether the parameter exists at `point`, which must already hold its parents."""
    if parameter.when is None:
        return True
    parent = parameter.when.parameter
    return parent in point and any(same(point[parent], value) for value in parameter.when.in_)


def check_point(parameters: Sequence[Parameter], point: Mapping[str, Scalar], *, where: str) -> None:
    """Refuse a point with unknown, out-of-range or inactive parameters. Parameters left out are sampled.

    Raises:
        ValueError: with `where`, the parameter, its value and what is allowed.
    """
    by_name = {parameter.name: parameter for parameter in parameters}
    for name, value in point.items():
        parameter = by_name.get(name)
        if parameter is None:
            raise ValueError(f"{where}: unknown parameter {name}; known: {', '.join(sorted(by_name))}")
        if not parameter.contains(value):
            raise ValueError(f"{where}: {name} = {value!r} is outside {describe(parameter)}")
    for parameter in ordered(parameters):
        when = parameter.when
        if parameter.name in point and when and when.parameter in point and not is_active(parameter, point):
            raise ValueError(
                f"{where}: {parameter.name} exists only when {when.parameter} is one of {list(when.in_)},"
                f" but it is {point[when.parameter]!r}"
            )


def describe(parameter: Parameter) -> str:
    """The domain in words, for messages."""
    domain = parameter.domain
    match domain:
        case Choices():
            return f"choices {list(domain.choices)}"
        case FloatRange() | IntRange():
            extra = " (log)" if domain.log else f" (step {domain.step})" if domain.step is not None else ""
            return f"[{domain.min}, {domain.max}]{extra}"
        case _:
            assert_never(domain)


def space_size(parameters: Sequence[Parameter]) -> float:
    """How many different points there are, conditions counted; `inf` when any active parameter is continuous."""
    roots = [parameter for parameter in parameters if parameter.when is None]
    return math.prod(_subtree_size(parameter, parameters) for parameter in roots)


def _subtree_size(parameter: Parameter, parameters: Sequence[Parameter]) -> float:
    children = [child for child in parameters if child.when and child.when.parameter == parameter.name]
    if not children:
        return parameter.size()
    special = _values_named_by(children)
    named = math.fsum(
        math.prod(_subtree_size(child, parameters) for child in children if is_active(child, {parameter.name: value}))
        for value in special
    )
    return named + parameter.size() - len(special)


def _values_named_by(children: Sequence[Parameter]) -> list[Scalar]:
    values: list[Scalar] = []
    for child in children:
        assert child.when is not None, "only conditional parameters are children"
        values.extend(value for value in child.when.in_ if not any(same(value, known) for known in values))
    return values


def all_points(parameters: Sequence[Parameter]) -> Iterator[dict[str, Scalar]]:
    """Every point of a finite space, parents before children.

    Raises:
        ValueError: if the space is not finite.
    """
    if math.isinf(space_size(parameters)):
        raise ValueError("the space is not finite")
    yield from _expand(ordered(parameters), {})


def _expand(remaining: Sequence[Parameter], point: dict[str, Scalar]) -> Iterator[dict[str, Scalar]]:
    if not remaining:
        yield point
        return
    first, rest = remaining[0], remaining[1:]
    if not is_active(first, point):
        yield from _expand(rest, point)
        return
    for value in _values(first):
        yield from _expand(rest, {**point, first.name: value})


def _values(parameter: Parameter) -> Iterator[Scalar]:
    domain = parameter.domain
    match domain:
        case Choices():
            yield from domain.choices
        case IntRange():
            yield from range(domain.min, domain.max + 1, domain.step or 1)
        case FloatRange():
            # As people write them: three steps of 0.1 are 0.3.
            low, step = Decimal(str(domain.min)), Decimal(str(domain.step or 0))
            yield from (float(low + index * step) for index in range(int(parameter.size())))
        case _:
            assert_never(domain)
