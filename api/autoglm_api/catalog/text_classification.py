"""`text-classification`: one label for each text, or any number of them."""

from __future__ import annotations

from autoglm_api.space import Choices, Parameter

from .declaration import Column, TaskDeclaration
from .knobs import Knob
from .methods import FULL, HEAD, LORA, METHODS, good_point, method_knobs, method_space

POOLINGS = ("mean", "first", "last")
GATES = ("none", "layers")
LONG_TEXTS = ("cut", "windows")
CLASS_WEIGHTS = ("none", "balanced")

TEXT_CLASSIFICATION = TaskDeclaration(
    name="text-classification",
    summary="one label for each text, or any number of them",
    columns={"text": Column("text", "the text"), "label": Column("label", "its class, or a list of them", answer=True)},
    example="Where is my order? It should have been here yesterday.",
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
        **method_knobs(METHODS),
        "pooling": Knob("mean", choices=POOLINGS),
        # A learned mixture of all layers' hidden states before they are pooled.
        "gate": Knob("none", choices=GATES, methods=tuple(name for name, known in METHODS.items() if known.gradient)),
        "max_length": Knob(128, low=4, high=131_072),
        "long_texts": Knob("cut", choices=LONG_TEXTS),
        "class_weight": Knob("none", choices=CLASS_WEIGHTS),
        "prior_shift": Knob(0.0, low=0, high=2),
        "threshold": Knob(0.5, low=0.01, high=0.99),
    },
    parameters=(
        *method_space((HEAD, LORA, FULL)),
        Parameter(name="pooling", categorical=Choices(choices=POOLINGS)),
        Parameter(name="max_length", categorical=Choices(choices=(64, 128))),
    ),
    points=(
        good_point("head", head_c=0.1, pooling="mean", max_length=64),
        good_point(
            "lora",
            learning_rate=1e-3,
            epochs=3,
            batch_size=16,
            lora_r=16,
            lora_alpha=32,
            pooling="mean",
            max_length=64,
        ),
        good_point("full", learning_rate=1e-4, epochs=3, batch_size=16, pooling="mean", max_length=64),
    ),
    trainer="autoglm_trainer.tasks.text_classification:TextClassification",
    server="autoglm_serving.tasks.text_classification:TextClassifier",
    refits=True,
)
