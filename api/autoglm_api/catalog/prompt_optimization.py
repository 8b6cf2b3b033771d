"""`prompt-optimization`: no weight changes; what is searched is how the model is asked."""

from __future__ import annotations

from autoglm_api.prompting.template import PLACE, Template
from autoglm_api.space import Choices, FloatRange, IntRange, Parameter, When

from .declaration import Column, TaskDeclaration
from .knobs import Knob

TEMPLATES = ("plain", "strict", "expert", "brief", "careful")
BRED, REWRITTEN = "bred", "rewritten"
LANGUAGES = ("auto", "en", "zh")
PURPOSES = ("auto", "classification", "answering", "summary")
SELECTIONS = ("similar", "diverse", "random")
DECODINGS = ("greedy", "sample", "beams")

_DRAWN = When(parameter="decoding", in_=("sample",))

PROMPT_OPTIMIZATION = TaskDeclaration(
    name="prompt-optimization",
    summary="how a causal language model, or one behind an endpoint, is best asked: template, examples, decoding",
    columns={
        "prompt": Column("prompt", "what is asked"),
        "answer": Column("answer", "the answer to it, in words; few different ones are labels", answer=True),
    },
    example="my parcel came without the charger, please send it on.",
    metrics={
        "accuracy": "Maximize",
        "f1_macro": "Maximize",
        "exact_match": "Maximize",
        "rouge_l": "Maximize",
        "bleu": "Maximize",
        "chrf": "Maximize",
        "prompt_tokens": "Minimize",
        "latency_p95_ms": "Minimize",
    },
    shown=("accuracy", "exact_match", "rouge_l", "prompt_tokens"),
    knobs={
        "template": Knob("plain", choices=(*TEMPLATES, BRED, REWRITTEN), mark=PLACE, read=Template.read),
        "language": Knob("auto", choices=LANGUAGES),
        "purpose": Knob("auto", choices=PURPOSES),
        "shots": Knob(0, low=0, high=64),
        "selection": Knob("similar", choices=SELECTIONS),
        "decoding": Knob("greedy", choices=DECODINGS),
        "temperature": Knob(0.7, low=0.01, high=2),
        "top_p": Knob(1.0, low=0.01, high=1),
        "top_k": Knob(0, low=0, high=1_000),
        "repetition_penalty": Knob(1.0, low=0.5, high=2),
        "num_beams": Knob(4, low=2, high=16),
        "max_new_tokens": Knob(0, low=0, high=65_536),
        "judged_rows": Knob(200, low=1, high=100_000),
    },
    parameters=(
        Parameter(name="template", categorical=Choices(choices=(*TEMPLATES, BRED))),
        Parameter(name="shots", int_=IntRange(min=0, max=8)),
        Parameter(
            name="selection",
            categorical=Choices(choices=SELECTIONS),
            when=When(parameter="shots", in_=tuple(range(1, 9))),
        ),
        Parameter(name="decoding", categorical=Choices(choices=DECODINGS)),
        Parameter(name="temperature", float_=FloatRange(min=0.1, max=1.0), when=_DRAWN),
        Parameter(name="top_p", float_=FloatRange(min=0.5, max=1.0), when=_DRAWN),
        Parameter(name="num_beams", int_=IntRange(min=2, max=5), when=When(parameter="decoding", in_=("beams",))),
    ),
    points=(
        {"template": "plain", "shots": 0, "decoding": "greedy"},
        {"template": "plain", "shots": 4, "selection": "similar", "decoding": "greedy"},
        {"template": "strict", "shots": 8, "selection": "similar", "decoding": "greedy"},
        {"template": "strict", "shots": 0, "decoding": "greedy"},
    ),
    trainer="autoglm_trainer.tasks.prompt_optimization:PromptOptimization",
    server="autoglm_serving.tasks.prompt_optimization:PromptedAnswerer",
    server_needs_torch=True,
    endpoint_lacks={"decoding": ("beams",), "num_beams": ()},
)
