"""`text-generation`: an answer in words, as the training rows answer their prompts."""

from __future__ import annotations

from dataclasses import replace

from autoglm_api.space import Choices, Parameter

from .declaration import Column, TaskDeclaration
from .knobs import Knob
from .methods import FULL, LORA, METHODS, good_point, method_knobs, method_space

# What answers is an ordinary causal model, so only what can be folded into its weights is offered.
_FOLDED = {name: method for name, method in METHODS.items() if method.folds and method.gradient}

_KNOBS = {
    **method_knobs(_FOLDED),
    "max_length": Knob(512, low=8, high=131_072),
    "max_new_tokens": Knob(64, low=1, high=65_536),
    "num_beams": Knob(1, low=1, high=16),
    "repetition_penalty": Knob(1.0, low=0.5, high=2),
}
# The output layer is the model's own: there is no new one to train at a rate of its own.
del _KNOBS["head_learning_rate"]
# A pretrained model that already writes is spoilt by the rates at which a new output layer is learned.
_RATES = {"lora": 3e-4, "dora": 3e-4, "qlora": 3e-4, "full": 2e-5}
_KNOBS["learning_rate"] = replace(_KNOBS["learning_rate"], by_method={**_KNOBS["learning_rate"].by_method, **_RATES})

TEXT_GENERATION = TaskDeclaration(
    name="text-generation",
    summary="an answer in words, as the training rows answer their prompts; for causal language models",
    columns={
        "prompt": Column("prompt", "what is asked"),
        "answer": Column("answer", "the answer to it", answer=True),
    },
    example="Summarise in one line: my parcel came without the charger, please send it on.",
    metrics={
        "rouge_l": "Maximize",
        "exact_match": "Maximize",
        "bleu": "Maximize",
        "chrf": "Maximize",
        "loss": "Minimize",
        "perplexity": "Minimize",
        "latency_p95_ms": "Minimize",
    },
    shown=("rouge_l", "chrf", "exact_match"),
    knobs=_KNOBS,
    parameters=(
        *method_space((LORA, FULL), rates=_RATES),
        Parameter(name="num_beams", categorical=Choices(choices=(1, 4))),
    ),
    points=(
        good_point("lora", learning_rate=3e-4, epochs=3, batch_size=16, lora_r=16, lora_alpha=32, num_beams=1),
        good_point("full", learning_rate=2e-5, epochs=3, batch_size=16, num_beams=1),
    ),
    trainer="autoglm_trainer.tasks.text_generation:TextGeneration",
    server="autoglm_serving.tasks.text_generation:TextGenerator",
    refits=True,
    server_needs_torch=True,
)
