"""The ways to tune a language model, as declarations, and what tasks that are tuned by them have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoglm_api.base import Scalar
from autoglm_api.space import Choices, FloatRange, IntRange, Parameter, When

from .knobs import Knob
from .plugins import installed


@dataclass(frozen=True)
class MethodDeclaration:
    """What is known of a tuning method before anything is loaded.

    Attributes:
        summary: one sentence for people who choose a method.
        gradient: whether it trains step by step, hence looks at learning rate, epochs and the like.
        learning_rate: its default rate; None for a method without gradient.
        knobs: its own parameters.
        parameters: its own part of a default search space.
        trainer: `module:attribute` of the `methods.Method`, imported by workers only.
    """

    name: str
    summary: str
    trainer: str
    gradient: bool = True
    learning_rate: float | None = None
    knobs: Mapping[str, Knob] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()


HEAD = MethodDeclaration(
    name="head",
    summary="a linear layer on the frozen model's features, solved exactly; seconds a trial",
    trainer="autoglm_trainer.methods.head:Head",
    gradient=False,
    knobs={"head_c": Knob(0.1, low=1e-6, high=1e6)},
    parameters=(Parameter(name="head_c", float_=FloatRange(min=1e-3, max=1e2, log=True)),),
)
LORA = MethodDeclaration(
    name="lora",
    summary="low-rank adapters on every linear layer",
    trainer="autoglm_trainer.methods.lora:Lora",
    learning_rate=1e-3,
    knobs={
        "lora_r": Knob(16, low=1, high=1_024),
        "lora_alpha": Knob(32, low=1, high=4_096),
        "lora_dropout": Knob(0.05, low=0, high=0.9),
    },
    parameters=(
        Parameter(name="lora_r", int_=IntRange(min=4, max=64, log=True)),
        Parameter(name="lora_alpha", int_=IntRange(min=8, max=128, log=True)),
    ),
)
FULL = MethodDeclaration(
    name="full",
    summary="every weight of the model",
    trainer="autoglm_trainer.methods.full:Full",
    learning_rate=1e-4,
)

METHODS, UNUSABLE_METHODS = installed(
    "autoglm.methods", MethodDeclaration, {method.name: method for method in (HEAD, LORA, FULL)}
)

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


def method_space(methods: Sequence[MethodDeclaration], *, epochs: tuple[int, int] = (1, 6)) -> Iterator[Parameter]:
    """The default space: the method, what all gradient methods search, and each method's own part."""
    by_gradient = tuple(method.name for method in methods if method.gradient)
    tuned = When(parameter="method", in_=by_gradient)
    yield Parameter(name="method", categorical=Choices(choices=tuple(method.name for method in methods)))
    yield Parameter(name="learning_rate", float_=FloatRange(min=1e-5, max=1e-2, log=True), when=tuned)
    yield Parameter(name="epochs", int_=IntRange(min=epochs[0], max=epochs[1]), when=tuned)
    yield Parameter(name="batch_size", categorical=Choices(choices=(16, 32)), when=tuned)
    for method in sorted(methods, key=lambda method: not method.gradient):
        for parameter in method.parameters:
            yield parameter.model_copy(update={"when": When(parameter="method", in_=(method.name,))})


def good_point(method: str, **values: Scalar) -> dict[str, Scalar]:
    """A point that is worth trying before anything is sampled."""
    return {"method": method, **values}
