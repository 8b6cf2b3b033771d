"""The ways to tune a language model, as declarations; the table of all that are built in or installed."""

from __future__ import annotations

from autoglm_api.catalog.plugins import installed

from .adapters import DORA, IA3, LORA
from .declaration import MethodDeclaration
from .space import good_point, method_knobs, method_space
from .weights import FULL, HEAD

__all__ = [
    "DORA",
    "FULL",
    "HEAD",
    "IA3",
    "LORA",
    "METHODS",
    "UNUSABLE_METHODS",
    "MethodDeclaration",
    "good_point",
    "method_knobs",
    "method_space",
]

METHODS, UNUSABLE_METHODS = installed(
    "autoglm.methods", MethodDeclaration, {method.name: method for method in (HEAD, LORA, FULL, DORA, IA3)}
)
