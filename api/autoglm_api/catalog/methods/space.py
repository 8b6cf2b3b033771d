"""What tasks that are tuned by methods have in common: the methods' knobs, and their parts of a default space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from autoglm_api.base import Scalar
from autoglm_api.catalog.knobs import Knob
from autoglm_api.space import Choices, FloatRange, IntRange, Parameter, When

from .declaration import MethodDeclaration

# What a method that trains by gradient looks at.
_GRADIENT: Mapping[str, Knob] = {
    "learning_rate": Knob(1e-3, low=0, high=1),
    "head_learning_rate": Knob(5e-3, low=0, high=1),
    "epochs": Knob(3, low=1, high=1_000),
    "batch_size": Knob(16, low=1, high=4_096),
    "weight_decay": Knob(0.01, low=0, high=10),
    "warmup_ratio": Knob(0.1, low=0, high=1),
    "dropout": Knob(0.1, low=0, high=0.9),
    "label_smoothing": Knob(0.0, low=0, high=0.9),
    "scheduler": Knob("linear", choices=("linear", "cosine", "constant")),
    "accumulation": Knob(1, low=1, high=1_024),
    "patience": Knob(0, low=0, high=1_000),
}


def method_knobs(methods: Mapping[str, MethodDeclaration], *, default: str = "lora") -> dict[str, Knob]:
    """`method` and every knob of `methods`; two methods may share a knob if they declare it alike."""
    by_gradient = tuple(method.name for method in methods.values() if method.gradient)
    rates = {method.name: method.learning_rate for method in methods.values() if method.learning_rate is not None}
    knobs = {"method": Knob(default, choices=tuple(methods))}
    for name, knob in _GRADIENT.items():
        own = {method: rate for method, rate in rates.items() if rate != knob.default}
        knobs[name] = replace(knob, methods=by_gradient, by_method=own if name == "learning_rate" else {})
    for method in methods.values():
        for name, knob in method.knobs.items():
            sharing = knobs[name].methods if name in knobs else ()
            knobs[name] = replace(knob, methods=(*sharing, method.name))
    return knobs


def method_space(
    methods: Sequence[MethodDeclaration], *, epochs: tuple[int, int] = (1, 6), rates: Mapping[str, float] | None = None
) -> Iterator[Parameter]:
    """The default space: the method, what all gradient methods search, and each method's own part.

    Args:
        methods: those to choose from.
        epochs: the fewest and the most.
        rates: the usual learning rate of methods for which a task has another one than they have elsewhere.
    """
    by_gradient = tuple(method.name for method in methods if method.gradient)
    tuned = When(parameter="method", in_=by_gradient)
    usual = [
        (rates or {}).get(method.name, method.learning_rate) for method in methods if method.learning_rate is not None
    ]
    # Beyond that every method either learns next to nothing or forgets what was pretrained.
    around = FloatRange(min=min(usual) / 5, max=max(usual) * 5, log=True)
    yield Parameter(name="method", categorical=Choices(choices=tuple(method.name for method in methods)))
    yield Parameter(name="learning_rate", float_=around, when=tuned)
    yield Parameter(name="epochs", int_=IntRange(min=epochs[0], max=epochs[1]), when=tuned)
    yield Parameter(name="batch_size", categorical=Choices(choices=(16, 32)), when=tuned)
    own: dict[str, Parameter] = {}
    users: dict[str, tuple[str, ...]] = {}
    for method in sorted(methods, key=lambda method: not method.gradient):
        for parameter in method.parameters:
            own.setdefault(parameter.name, parameter)
            users[parameter.name] = (*users.get(parameter.name, ()), method.name)
    for name, parameter in own.items():
        yield parameter.model_copy(update={"when": When(parameter="method", in_=users[name])})


def searched_methods(knobs: Mapping[str, Knob], parameters: Sequence[Parameter]) -> tuple[str, ...]:
    """The methods that trials of a space are tuned by; empty where the task has none to choose from."""
    if "method" not in knobs:
        return ()
    chosen = next((parameter.domain for parameter in parameters if parameter.name == "method"), None)
    return tuple(map(str, chosen.choices if isinstance(chosen, Choices) else [knobs["method"].default]))


def good_point(method: str, **values: Scalar) -> dict[str, Scalar]:
    """A point that is worth trying before anything is sampled."""
    return {"method": method, **values}
