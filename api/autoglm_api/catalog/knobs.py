"""What a task can be tuned by, one declaration a parameter: default, what it can ever be, and who looks at it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autoglm_api.base import Scalar
from autoglm_api.space import Choices, FloatRange, IntRange, Parameter


@dataclass(frozen=True)
class Knob:
    """One parameter that a task understands.

    Attributes:
        default: its value where a point says nothing; its type is the parameter's.
        choices: every value that is implemented; empty for a number.
        low: the smallest number it can ever be, itself included. high: the largest.
        methods: the tuning methods that look at it; empty = all.
        words: whether any text is a value.
        mark: what a text must have to be a value beside `choices`.
        read: takes such a text, and raises a ValueError where it cannot be used.
        by_method: defaults of methods for which `default` would be wrong.
    """

    default: Scalar
    choices: tuple[Scalar, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    words: bool = False
    mark: str | None = None
    read: Callable[[str], object] | None = None
    methods: tuple[str, ...] = ()
    by_method: Mapping[str, Scalar] = field(default_factory=dict)

    def matters(self, method: str | None) -> bool:
        """Whether `method` looks at it."""
        return not self.methods or method in self.methods

    def value(self, method: str | None) -> Scalar:
        """The default under `method`."""
        return self.default if method is None else self.by_method.get(method, self.default)

    def _is_marked(self, value: Scalar) -> bool:
        return self.mark is not None and isinstance(value, str) and self.mark in value

    def _read_marked(self, name: str, values: tuple[Scalar, ...]) -> None:
        for value in values:
            if self.read is not None and value not in self.choices:
                try:
                    self.read(str(value))
                except ValueError as error:
                    raise ValueError(f"parameters: {name}: {error}") from error

    def check(self, parameter: Parameter) -> None:
        """Refuse a domain that the knob cannot take.

        Raises:
            ValueError: naming the parameter, its value and what is known.
        """
        name, domain = parameter.name, parameter.domain
        values: tuple[Scalar, ...] = domain.choices if isinstance(domain, Choices) else ()
        if self.choices:
            unknown = [value for value in values if value not in self.choices and not self._is_marked(value)]
            if unknown or not values:
                others = f", or texts with {self.mark}" if self.mark else ""
                raise ValueError(
                    f"parameters: {name} must be choices from {list(self.choices)}{others}, got {unknown or 'a range'}"
                )
            self._read_marked(name, values)
        elif self.words:
            if not values or not all(isinstance(value, str) and value.strip() for value in values):
                raise ValueError(f"parameters: {name} takes texts, got {list(values) or 'a range'}")
        elif any(isinstance(value, bool | str) for value in values):
            raise ValueError(f"parameters: {name} takes numbers, got {list(values)}")
        elif isinstance(self.default, int) and not _is_whole(domain):
            raise ValueError(f"parameters: {name} takes whole numbers; use int instead of float")
        else:
            for value in values if isinstance(domain, Choices) else (domain.min, domain.max):
                if not self.low <= float(value) <= self.high:
                    raise ValueError(f"parameters: {name} must lie in [{self.low:g}, {self.high:g}], got {value!r}")


def _is_whole(domain: FloatRange | IntRange | Choices) -> bool:
    if isinstance(domain, Choices):
        return all(isinstance(value, int) for value in domain.choices)
    return isinstance(domain, IntRange)
