"""`tabular-classification` and `tabular-regression`: a class or a number for each row of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from autoglm_api.base import Scalar
from autoglm_api.space import Choices, FloatRange, IntRange, Parameter, When

from .declaration import Column, TaskDeclaration
from .knobs import Knob
from .methods import MethodDeclaration, good_point

CATEGORIES = ("levels", "counts", "both")
INTEGERS = ("numbers", "levels")
WINDOWS = ("none", "last", "five", "all")

FOREST = MethodDeclaration(
    name="forest",
    summary="a random forest",
    trainer="autoglm_trainer.tables.learners.forest:Forest",
    gradient=False,
    knobs={
        "trees": Knob(200, low=1, high=10_000),
        "tree_min_rows": Knob(2, low=1, high=100_000),
        "tree_features": Knob(0.3, low=0.01, high=1),
    },
    parameters=(
        Parameter(name="trees", int_=IntRange(min=100, max=500)),
        Parameter(name="tree_min_rows", int_=IntRange(min=1, max=20, log=True)),
        Parameter(name="tree_features", float_=FloatRange(min=0.05, max=1, log=True)),
    ),
)
BOOSTING = MethodDeclaration(
    name="boosting",
    summary="gradient-boosted trees (LightGBM)",
    trainer="autoglm_trainer.tables.learners.boosting:Boosting",
    gradient=False,
    knobs={
        "rounds": Knob(150, low=1, high=20_000),
        "learning_rate": Knob(0.05, low=1e-5, high=1),
        "leaves": Knob(8, low=2, high=4_096),
        "leaf_min_rows": Knob(15, low=1, high=100_000),
        "row_share": Knob(0.8, low=0.05, high=1),
        "column_share": Knob(0.7, low=0.05, high=1),
        "leaf_penalty": Knob(1.0, low=0, high=1e6),
    },
    parameters=(
        Parameter(name="rounds", int_=IntRange(min=40, max=600, log=True)),
        Parameter(name="learning_rate", float_=FloatRange(min=0.01, max=0.2, log=True)),
        Parameter(name="leaves", int_=IntRange(min=3, max=63, log=True)),
        Parameter(name="leaf_min_rows", int_=IntRange(min=3, max=60, log=True)),
        Parameter(name="leaf_penalty", float_=FloatRange(min=1e-2, max=100, log=True)),
    ),
)
NETWORK = MethodDeclaration(
    name="network",
    summary="small neural networks with a learned vector for each category, the mean of some",
    trainer="autoglm_trainer.tables.learners.network:Network",
    knobs={
        "networks": Knob(4, low=1, high=64),
        "epochs": Knob(15, low=1, high=10_000),
        "network_learning_rate": Knob(2e-3, low=1e-6, high=1),
        "batch_size": Knob(64, low=2, high=65_536),
        "width": Knob(64, low=1, high=4_096),
        "layers": Knob(2, low=1, high=16),
        "dropout": Knob(0.3, low=0, high=0.9),
        "weight_decay": Knob(1e-2, low=0, high=10),
    },
    parameters=(
        Parameter(name="epochs", int_=IntRange(min=5, max=50, log=True)),
        Parameter(name="network_learning_rate", float_=FloatRange(min=3e-4, max=1e-2, log=True)),
        Parameter(name="width", categorical=Choices(choices=(32, 64, 128))),
        Parameter(name="layers", int_=IntRange(min=1, max=3)),
        Parameter(name="dropout", float_=FloatRange(min=0.1, max=0.6)),
    ),
)
LINEAR = MethodDeclaration(
    name="linear",
    summary="a logistic or a ridge regression",
    trainer="autoglm_trainer.tables.learners.linear:Linear",
    gradient=False,
    knobs={"linear_c": Knob(0.1, low=1e-8, high=1e8)},
    parameters=(Parameter(name="linear_c", float_=FloatRange(min=1e-3, max=10, log=True)),),
)
ENSEMBLE = MethodDeclaration(
    name="ensemble",
    summary="all of them, weighted by how well they answer rows that they were not trained on",
    trainer="autoglm_trainer.tables.learners.ensemble:Ensemble",
    gradient=False,
)

MEMBERS = (BOOSTING, FOREST, NETWORK, LINEAR)
LEARNERS: Mapping[str, MethodDeclaration] = {each.name: each for each in (*MEMBERS, ENSEMBLE)}

_FEATURES = {
    "categories": Knob("levels", choices=CATEGORIES),
    "integers": Knob("numbers", choices=INTEGERS),
    "paired_columns": Knob(0, low=0, high=32),
    "window": Knob("all", choices=WINDOWS),
}
_JUDGES = {
    "folds": Knob(5, low=2, high=20),
    "judged_by": Knob("folds", choices=("folds", "validation")),
}
_CLASSES = {
    "class_weight": Knob("none", choices=("none", "balanced")),
    "threshold": Knob(0.5, low=0.01, high=0.99),
    "threshold_from": Knob("point", choices=("point", "validation")),
}


def _knobs(own: Mapping[str, Knob]) -> dict[str, Knob]:
    """The ensemble trains its members at the same point, so it looks at all that they look at."""
    knobs = {"method": Knob("boosting", choices=tuple(LEARNERS))}
    for learner in LEARNERS.values():
        for name, knob in learner.knobs.items():
            knobs[name] = replace(knob, methods=(learner.name, ENSEMBLE.name))
    return {**knobs, **_JUDGES, **_FEATURES, **own}


def _space() -> Iterator[Parameter]:
    """The learner, what it makes of the columns, and each learner's own part."""
    yield Parameter(name="method", categorical=Choices(choices=tuple(LEARNERS)))
    yield Parameter(name="categories", categorical=Choices(choices=CATEGORIES))
    yield Parameter(name="paired_columns", int_=IntRange(min=0, max=4))
    for learner in MEMBERS:
        for parameter in learner.parameters:
            yield parameter.model_copy(update={"when": When(parameter="method", in_=(learner.name, ENSEMBLE.name))})


_OWN_POINT: dict[str, Scalar] = {"categories": "levels", "paired_columns": 0}
_BOOSTING: dict[str, Scalar] = {
    "rounds": 150,
    "learning_rate": 0.05,
    "leaves": 8,
    "leaf_min_rows": 15,
    "leaf_penalty": 1.0,
}
_FOREST: dict[str, Scalar] = {"trees": 300, "tree_min_rows": 2, "tree_features": 0.15}
_LINEAR: dict[str, Scalar] = {"linear_c": 0.1}
_NETWORK = dict[str, Scalar](epochs=15, network_learning_rate=2e-3, width=64, layers=2, dropout=0.3)
_POINTS = (
    good_point("boosting", **_OWN_POINT, **_BOOSTING),
    good_point("forest", **_OWN_POINT, **_FOREST),
    good_point("linear", **_OWN_POINT, **_LINEAR),
    good_point("ensemble", **_OWN_POINT, **_BOOSTING, **_FOREST, **_LINEAR, **_NETWORK),
    good_point("network", **_OWN_POINT, **_NETWORK),
)
_ROLES = {
    "time": Column("", "when it was: the latest rows are held out, and an entity's past is earlier", asked=False),
    "entity": Column("", "whose row it is: a customer, a machine; its other rows become features", asked=False),
}
_EXAMPLE = {"duration": 24, "credit_history": "A32", "credit_amount": 1_938, "savings": None}

TABULAR_CLASSIFICATION = TaskDeclaration(
    name="tabular-classification",
    summary="a class for each row of a table",
    columns={"label": Column("label", "its class", answer=True), **_ROLES},
    example=_EXAMPLE,
    metrics={
        "auc": "Maximize",
        "average_precision": "Maximize",
        "accuracy": "Maximize",
        "balanced_accuracy": "Maximize",
        "f1_macro": "Maximize",
        "loss": "Minimize",
        "latency_p95_ms": "Minimize",
    },
    shown=("auc", "accuracy", "f1_macro", "loss"),
    knobs=_knobs(_CLASSES),
    parameters=tuple(_space()),
    points=_POINTS,
    trainer="autoglm_trainer.tasks.tabular:TabularClassification",
    server="autoglm_serving.tasks.tabular:RowClassifier",
    base_model="none",
    wide=True,
    own_methods=LEARNERS,
)
TABULAR_REGRESSION = TaskDeclaration(
    name="tabular-regression",
    summary="a number for each row of a table",
    columns={"target": Column("target", "the number", answer=True), **_ROLES},
    example=_EXAMPLE,
    metrics={"rmse": "Minimize", "mae": "Minimize", "r2": "Maximize", "latency_p95_ms": "Minimize"},
    shown=("rmse", "mae", "r2"),
    knobs=_knobs({}),
    parameters=tuple(_space()),
    points=_POINTS,
    trainer="autoglm_trainer.tasks.tabular:TabularRegression",
    server="autoglm_serving.tasks.tabular:RowEstimator",
    base_model="none",
    wide=True,
    own_methods=LEARNERS,
)
