"""`token-classification`: a tag for each word, hence the names and other things that a sentence speaks of."""

from __future__ import annotations

from autoglm_api.space import Choices, FloatRange, Parameter, When

from .declaration import Column, TaskDeclaration
from .knobs import Knob
from .methods import FULL, HEAD, LORA, METHODS, good_point, method_knobs, method_space

GATES = ("none", "layers", "tokens")
SUBWORDS = ("first", "last")

TOKEN_CLASSIFICATION = TaskDeclaration(
    name="token-classification",
    summary="a BIO tag for each word: names and other things in sentences",
    columns={
        "tokens": Column("tokens", "the sentence, word by word"),
        "tags": Column("tags", "O, B-<type> or I-<type> of each word", answer=True),
    },
    example={"tokens": ["Anna", "Lind", "lives", "in", "Oslo", "."]},
    metrics={
        "f1": "Maximize",
        "precision": "Maximize",
        "recall": "Maximize",
        "accuracy": "Maximize",
        "loss": "Minimize",
        "latency_p95_ms": "Minimize",
    },
    shown=("f1", "precision", "recall"),
    knobs={
        **method_knobs(METHODS),
        # How much more a word inside an entity counts in training than one outside; most words are outside.
        "entity_weight": Knob(1.0, low=0.01, high=1_000),
        # A learned mixture of all layers' hidden states, or a learned weight of each token, before the output layer.
        "gate": Knob("none", choices=GATES, methods=tuple(name for name, known in METHODS.items() if known.gradient)),
        # Which of a word's tokens answers for it; a model that reads only to the left knows more at the last.
        "subword": Knob("first", choices=SUBWORDS),
        "max_length": Knob(128, low=4, high=131_072),
    },
    parameters=(
        *method_space((HEAD, LORA, FULL)),
        Parameter(name="gate", categorical=Choices(choices=GATES), when=When(parameter="method", in_=("lora", "full"))),
        Parameter(name="entity_weight", float_=FloatRange(min=0.5, max=8, log=True)),
    ),
    points=(
        good_point("head", head_c=0.1, entity_weight=1.0),
        # A few hundred sentences want more steps and more weight on entities; a thousand are not harmed by them.
        good_point("full", learning_rate=2e-4, epochs=4, batch_size=16, gate="none", entity_weight=2.0),
        good_point(
            "lora",
            learning_rate=1e-3,
            epochs=3,
            batch_size=16,
            lora_r=16,
            lora_alpha=32,
            gate="none",
            entity_weight=1.0,
        ),
    ),
    trainer="autoglm_trainer.tasks.token_classification:TokenClassification",
    server="autoglm_serving.tasks.token_classification:EntityFinder",
    refits=True,
)
