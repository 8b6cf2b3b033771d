"""Methods that train weights of the model itself, or none of them."""

from __future__ import annotations

from autoglm_api.catalog.knobs import Knob
from autoglm_api.space import FloatRange, IntRange, Parameter

from .declaration import MethodDeclaration

HEAD = MethodDeclaration(
    name="head",
    summary="a linear layer on the frozen model's features, solved exactly; seconds a trial",
    trainer="autoglm_trainer.methods.head:Head",
    gradient=False,
    knobs={"head_c": Knob(0.1, low=1e-6, high=1e6)},
    parameters=(Parameter(name="head_c", float_=FloatRange(min=1e-3, max=1e2, log=True)),),
)
FULL = MethodDeclaration(
    name="full",
    summary="every weight of the model",
    trainer="autoglm_trainer.methods.full:Full",
    folds=True,
    learning_rate=1e-4,
)
SCRATCH = MethodDeclaration(
    name="scratch",
    summary="the same network from random weights; nothing that was pretrained is used; pictures only",
    trainer="autoglm_trainer.methods.scratch:Scratch",
    folds=True,
    learning_rate=3e-3,
)
UNFREEZE = MethodDeclaration(
    name="unfreeze",
    summary="every weight of the top layers; layer_decay below 1 gives lower ones smaller steps",
    trainer="autoglm_trainer.methods.unfreeze:Unfreeze",
    folds=True,
    learning_rate=1e-4,
    knobs={"unfrozen_layers": Knob(2, low=1, high=1_000), "layer_decay": Knob(1.0, low=0.01, high=1)},
    parameters=(
        Parameter(name="unfrozen_layers", int_=IntRange(min=1, max=8)),
        Parameter(name="layer_decay", float_=FloatRange(min=0.5, max=1)),
    ),
)
