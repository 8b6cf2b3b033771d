"""`question-answering`: the stretch of a context that answers a question, or that there is none."""

from __future__ import annotations

from autoglm_api.space import Choices, Parameter

from .declaration import Column, TaskDeclaration
from .knobs import Knob
from .methods import FULL, HEAD, LORA, METHODS, good_point, method_knobs, method_space

_KNOBS = {
    **method_knobs(METHODS),
    "max_length": Knob(256, low=32, high=131_072),
    "stride": Knob(64, low=0, high=65_536),
    "max_answer_tokens": Knob(30, low=1, high=1_024),
    "no_answer_threshold": Knob(0.0, low=-100, high=100),
}
# The loss is over the places of one context; a smoothed share for each of hundreds of places means nothing.
del _KNOBS["label_smoothing"]

QUESTION_ANSWERING = TaskDeclaration(
    name="question-answering",
    summary="the stretch of a context that answers a question, or that there is none",
    columns={
        "question": Column("question", "the question"),
        "context": Column("context", "the text that may hold the answer"),
        "answer": Column("answer", "the answer as it stands in the context; empty = there is none", answer=True),
        "answer_start": Column(
            "answer_start", "where it begins, in characters from 0; may be missing: the first occurrence", answer=True
        ),
    },
    example={"question": "Who wrote it?", "context": "The book was written by Ada in 1843."},
    metrics={
        "f1": "Maximize",
        "exact_match": "Maximize",
        "loss": "Minimize",
        "latency_p95_ms": "Minimize",
    },
    shown=("f1", "exact_match"),
    knobs=_KNOBS,
    parameters=(
        *method_space((HEAD, LORA, FULL)),
        Parameter(name="max_length", categorical=Choices(choices=(192, 256, 384))),
        Parameter(name="stride", categorical=Choices(choices=(32, 64, 128))),
    ),
    points=(
        good_point(
            "lora", learning_rate=1e-3, epochs=3, batch_size=16, lora_r=16, lora_alpha=32, max_length=256, stride=64
        ),
        good_point("full", learning_rate=1e-4, epochs=3, batch_size=16, max_length=256, stride=64),
        good_point("head", head_c=1.0, max_length=256, stride=64),
    ),
    trainer="autoglm_trainer.tasks.question_answering:QuestionAnswering",
    server="autoglm_serving.tasks.question_answering:Reader",
    refits=True,
)
