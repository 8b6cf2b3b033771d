"""Methods that leave the model as it is and learn what stands before every text."""

from __future__ import annotations

from autoglm_api.catalog.knobs import Knob
from autoglm_api.space import Choices, IntRange, Parameter

from .declaration import MethodDeclaration

_KNOBS = {
    "prompt_length": Knob(16, low=1, high=512),
    "prompt_init": Knob("vocabulary", choices=("vocabulary", "text")),
    "prompt_text": Knob("Read the text with care and decide:", words=True),
}
_PARAMETERS = (
    Parameter(name="prompt_length", int_=IntRange(min=4, max=64, log=True)),
    Parameter(name="prompt_init", categorical=Choices(choices=("vocabulary", "text"))),
)

PROMPT_TUNING = MethodDeclaration(
    name="prompt-tuning",
    summary="virtual tokens before every text; begins as words of the vocabulary or as a text",
    trainer="autoglm_trainer.methods.prompt_tuning:PromptTuning",
    learning_rate=1e-2,
    knobs=_KNOBS,
    parameters=_PARAMETERS,
)
P_TUNING = MethodDeclaration(
    name="p-tuning",
    summary="virtual tokens that pass a small network (MLP or LSTM) while they are trained",
    trainer="autoglm_trainer.methods.p_tuning:PTuning",
    learning_rate=5e-3,
    knobs={
        **_KNOBS,
        "prompt_encoder": Knob("mlp", choices=("mlp", "lstm")),
        "prompt_encoder_size": Knob(128, low=1, high=8_192),
    },
    parameters=(*_PARAMETERS, Parameter(name="prompt_encoder", categorical=Choices(choices=("mlp", "lstm")))),
)
PREFIX = MethodDeclaration(
    name="prefix",
    summary="learned keys and values before those of every text, in each layer",
    trainer="autoglm_trainer.methods.prefix:Prefix",
    learning_rate=5e-3,
    knobs=_KNOBS,
    parameters=_PARAMETERS,
)
PROMPT_FUSION = MethodDeclaration(
    name="prompt-fusion",
    summary="several prompts of virtual tokens, mixed for each text by a learned attention",
    trainer="autoglm_trainer.methods.prompt_fusion:PromptFusion",
    learning_rate=1e-2,
    knobs={**_KNOBS, "fused_prompts": Knob(4, low=1, high=64)},
    parameters=(*_PARAMETERS, Parameter(name="fused_prompts", int_=IntRange(min=2, max=8))),
)
