"""The ways to tune a model to a task, by name; declared in `autoglm_api.catalog`."""

from __future__ import annotations

from autoglm_api.catalog.methods import METHODS, UNUSABLE_METHODS
from autoglm_api.plugins import resolve
from autoglm_trainer.errors import SpecError

from .method import Fitting, Kept, Loss, Method

__all__ = ["Fitting", "Kept", "Loss", "Method", "get_method"]


def get_method(name: str) -> Method:
    """The method called `name`.

    Raises:
        SpecError: there is none, or its plug-in cannot be used.
    """
    if name in UNUSABLE_METHODS:
        raise SpecError(f"parameters.method: {UNUSABLE_METHODS[name]}")
    if name not in METHODS:
        raise SpecError(f"parameters.method: unknown method {name!r}; known: {', '.join(METHODS)}")
    try:
        method: Method = resolve(METHODS[name].trainer)()
    except ImportError as error:
        raise SpecError(f"parameters.method: {error}") from error
    return method
