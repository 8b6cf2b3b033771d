"""The ways to fit a classifier to a base model, by name."""

from __future__ import annotations

from collections.abc import Mapping

from autoglm_trainer.errors import SpecError

from . import full, head, lora
from .method import Fitting, Method

__all__ = ["METHODS", "Fitting", "Method", "get_method"]

METHODS: Mapping[str, Method] = {"head": head.Head(), "lora": lora.Lora(), "full": full.Full()}


def get_method(name: str) -> Method:
    """The method called `name`.

    Raises:
        SpecError: there is none.
    """
    if name not in METHODS:
        raise SpecError(f"parameters.method: unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
