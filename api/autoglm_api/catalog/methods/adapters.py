"""Methods that train small weights beside the model's own, folded into them when the model is exported."""

from __future__ import annotations

from autoglm_api.catalog.knobs import Knob
from autoglm_api.space import IntRange, Parameter

from .declaration import MethodDeclaration

_LORA_KNOBS = {
    "lora_r": Knob(16, low=1, high=1_024),
    "lora_alpha": Knob(32, low=1, high=4_096),
    "lora_dropout": Knob(0.05, low=0, high=0.9),
}
_LORA_PARAMETERS = (
    Parameter(name="lora_r", int_=IntRange(min=4, max=64, log=True)),
    Parameter(name="lora_alpha", int_=IntRange(min=8, max=128, log=True)),
)

LORA = MethodDeclaration(
    name="lora",
    summary="low-rank adapters on every linear layer",
    trainer="autoglm_trainer.methods.lora:Lora",
    folds=True,
    learning_rate=1e-3,
    knobs=_LORA_KNOBS,
    parameters=_LORA_PARAMETERS,
)
DORA = MethodDeclaration(
    name="dora",
    summary="low-rank adapters that turn each weight, and a length of its own for each; about twice LoRA's time",
    trainer="autoglm_trainer.methods.lora:Dora",
    folds=True,
    learning_rate=1e-3,
    knobs=_LORA_KNOBS,
    parameters=_LORA_PARAMETERS,
)
QLORA = MethodDeclaration(
    name="qlora",
    summary="LoRA on weights of 4 bits (NF4): a quarter of the memory, more time a step; on a GPU alone",
    trainer="autoglm_trainer.methods.qlora:QLora",
    folds=True,
    learning_rate=1e-3,
    knobs=_LORA_KNOBS,
    parameters=_LORA_PARAMETERS,
    needs_gpu=True,
)
IA3 = MethodDeclaration(
    name="ia3",
    summary="one learned factor for each key, value and inner activation; the fewest weights of all adapters",
    trainer="autoglm_trainer.methods.ia3:IA3",
    folds=True,
    learning_rate=1e-2,
)
