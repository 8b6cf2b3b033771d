"""`node-classification`: a label for each node of a graph, learned from its features and its neighbours'."""

from __future__ import annotations

from autoglm_api.space import Choices, FloatRange, IntRange, Parameter, When

from .declaration import Column, TaskDeclaration
from .knobs import Knob
from .methods import MethodDeclaration, good_point

_SUMMARIES = {
    "gcn": "graph convolutions: each layer averages a node with its neighbours",
    "gat": "graph attention: each layer learns which neighbours to listen to",
    "sage": "GraphSAGE: each layer keeps a node and its neighbours apart",
    "appnp": "a plain network, its answers spread along ten edges by personalised PageRank",
    "mlp": "a plain network without edges; tells what these are worth",
}
_METHODS = {
    name: MethodDeclaration(name, summary, trainer="autoglm_trainer.graphs.network:GraphNetwork")
    for name, summary in _SUMMARIES.items()
}
DIRECTIONS = ("both", "forward", "backward")
NORMALISATIONS = ("symmetric", "mean")
AGGREGATIONS = ("mean", "max")
NORMS = ("none", "layer")
CLASS_WEIGHTS = ("none", "balanced")

_WITH_EDGES = ("gcn", "gat", "sage", "appnp")
# Those whose neighbourhoods stay small enough to be sampled; APPNP looks ten edges far.
_SAMPLED = ("gcn", "gat", "sage")

NODE_CLASSIFICATION = TaskDeclaration(
    name="node-classification",
    summary="a label for each node of a graph: papers that cite, accounts that pay, pages that link",
    columns={
        "node": Column("id", "the node's name, in every file of nodes"),
        "words": Column(
            "words", "what the node has, as a list of words or numbers, or with spaces between; optional", asked=False
        ),
        "label": Column("label", "its class; empty where it is not known", answer=True),
        "split": Column(
            "split", "train, validation or test; none or empty = only part of the graph; optional", asked=False
        ),
        "source": Column("source", "of the edges: where one begins", asked=False),
        "target": Column("target", "of the edges: where it ends", asked=False),
        "weight": Column("weight", "of the edges: a number above 0; optional", asked=False),
    },
    example={"node": "paper-17"},
    metrics={
        "accuracy": "Maximize",
        "f1_macro": "Maximize",
        "precision": "Maximize",
        "recall": "Maximize",
        "loss": "Minimize",
        "latency_p95_ms": "Minimize",
    },
    shown=("accuracy", "f1_macro", "loss"),
    knobs={
        "method": Knob("gcn", choices=tuple(_METHODS)),
        "layers": Knob(2, low=1, high=16),
        "hidden": Knob(16, low=1, high=4_096, by_method={"gat": 8, "sage": 32, "appnp": 64, "mlp": 64}),
        "heads": Knob(8, low=1, high=64, methods=("gat",)),
        "dropout": Knob(0.5, low=0, high=0.95, by_method={"gat": 0.6}),
        "attention_dropout": Knob(0.6, low=0, high=0.95, methods=("gat",)),
        "edge_dropout": Knob(0.0, low=0, high=0.95, methods=_WITH_EDGES),
        "learning_rate": Knob(0.01, low=0, high=1, by_method={"gat": 0.005}),
        "weight_decay": Knob(5e-4, low=0, high=1),
        "epochs": Knob(200, low=1, high=10_000),
        "patience": Knob(20, low=0, high=1_000),
        # Of the edge from each node to itself, beside edges of weight 1; 0 = there is none.
        "self_weight": Knob(1.0, low=0, high=100, methods=("gcn", "appnp")),
        "normalisation": Knob("symmetric", choices=NORMALISATIONS, methods=("gcn", "appnp")),
        "aggregation": Knob("mean", choices=AGGREGATIONS, methods=("sage",)),
        # Whether a node sees the nodes at both ends of its edges, those that point to it, or those that it points to.
        "edge_direction": Knob("both", choices=DIRECTIONS, methods=_WITH_EDGES),
        "hops": Knob(10, low=1, high=100, methods=("appnp",)),
        "teleport": Knob(0.1, low=0, high=1, methods=("appnp",)),
        "norm": Knob("none", choices=NORMS),
        "class_weight": Knob("none", choices=CLASS_WEIGHTS),
        # Training nodes a step, with a sample of their neighbourhood; 0 = the whole graph at once.
        "batch_size": Knob(0, low=0, high=1_048_576, methods=_SAMPLED),
        "neighbours": Knob(10, low=1, high=10_000, methods=_SAMPLED),
    },
    parameters=(
        Parameter(name="method", categorical=Choices(choices=("gcn", "gat", "sage", "appnp"))),
        Parameter(name="layers", int_=IntRange(min=1, max=3)),
        Parameter(name="hidden", categorical=Choices(choices=(8, 16, 32, 64))),
        Parameter(name="heads", categorical=Choices(choices=(1, 4, 8)), when=When(parameter="method", in_=("gat",))),
        Parameter(name="dropout", float_=FloatRange(min=0.2, max=0.8)),
        Parameter(name="edge_dropout", float_=FloatRange(min=0, max=0.6)),
        Parameter(name="learning_rate", float_=FloatRange(min=3e-3, max=3e-2, log=True)),
        Parameter(name="weight_decay", float_=FloatRange(min=1e-4, max=2e-2, log=True)),
        Parameter(
            name="teleport",
            float_=FloatRange(min=0.02, max=0.3, log=True),
            when=When(parameter="method", in_=("appnp",)),
        ),
    ),
    points=(
        # As the papers train on citation graphs: Kipf & Welling 2017, Veličković et al. 2018, Gasteiger et al. 2019,
        # Hamilton et al. 2017.
        good_point("gcn", layers=2, hidden=16, dropout=0.5, edge_dropout=0.0, learning_rate=0.01, weight_decay=5e-4),
        good_point(
            "appnp",
            layers=2,
            hidden=64,
            dropout=0.5,
            edge_dropout=0.5,
            learning_rate=0.01,
            weight_decay=5e-4,
            teleport=0.1,
        ),
        good_point(
            "gat", layers=2, hidden=8, heads=8, dropout=0.6, edge_dropout=0.0, learning_rate=0.005, weight_decay=5e-4
        ),
        good_point("sage", layers=2, hidden=32, dropout=0.5, edge_dropout=0.0, learning_rate=0.01, weight_decay=5e-4),
    ),
    trainer="autoglm_trainer.tasks.node_classification:NodeClassification",
    server="autoglm_serving.tasks.node_classification:NodeClassifier",
    base_model="none",
    wide=True,
    sources=("edges",),
    own_methods=_METHODS,
)
