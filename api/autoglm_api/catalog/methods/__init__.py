"""The ways to tune a language model, as declarations; the table of all that are built in or installed."""

from __future__ import annotations

from autoglm_api.plugins import installed

from .adapters import DORA, IA3, LORA, QLORA
from .declaration import MethodDeclaration
from .prompts import P_TUNING, PREFIX, PROMPT_FUSION, PROMPT_TUNING
from .space import good_point, method_knobs, method_space, searched_methods
from .weights import FULL, HEAD, SCRATCH, UNFREEZE

__all__ = [
    "DORA",
    "FULL",
    "HEAD",
    "IA3",
    "IMAGE_METHODS",
    "LORA",
    "METHODS",
    "PREFIX",
    "PROMPT_FUSION",
    "PROMPT_TUNING",
    "P_TUNING",
    "QLORA",
    "SCRATCH",
    "UNFREEZE",
    "UNUSABLE_METHODS",
    "MethodDeclaration",
    "good_point",
    "method_knobs",
    "method_space",
    "searched_methods",
]

_BUILT_IN = (HEAD, LORA, FULL, DORA, QLORA, IA3, PROMPT_TUNING, P_TUNING, PREFIX, PROMPT_FUSION, UNFREEZE)

METHODS, UNUSABLE_METHODS = installed(
    "autoglm.methods", MethodDeclaration, {method.name: method for method in _BUILT_IN}
)
# Of networks on pictures, most of which have no layers that adapters or virtual tokens fit.
IMAGE_METHODS = {method.name: method for method in (HEAD, UNFREEZE, FULL, SCRATCH)}
